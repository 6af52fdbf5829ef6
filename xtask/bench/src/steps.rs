//! Where the nanoseconds go: the program that ends after each of its steps, all
//! in turn, on a SYN to a closed port.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use filter_user::dataplane::{DataPlane, Options};
use sandbox::Sandbox;

use crate::report::{Figure, Report, Step};
use bench::flood::{Instruments, nanoseconds, pin};

/// `objects`: a directory for each, whose name begins with its number.
pub fn measure(rounds: u32, objects: &Path, report: &mut Report) -> Result<()> {
    let mut dirs: Vec<_> = fs::read_dir(objects)
        .with_context(|| format!("{} cannot be read", objects.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    dirs.sort();
    let sandbox = Sandbox::silent_pair()?;
    let index = sandbox.veth.a.index()?;
    let frame = sandbox.frame_to_host().ipv4("203.0.113.9", sandbox::HOST_IPV4);
    let frame = frame.tcp(40_000, 23).syn().pad_to(60).build();
    let mut instruments = Instruments::load()?;
    let mut programs = Vec::new();
    for dir in &dirs {
        let object = fs::read(dir.join("nodewall"))?;
        let mut plane = DataPlane::load(&Options { object: Some(&object), ..Options::default() })?;
        plane.guard(index, 1, false)?;
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let name = name.split_once(' ').map_or(&*name, |(_, name)| name).to_owned();
        programs.push((name, plane, Vec::new()));
    }
    let mut bare = Vec::new();
    for _ in 0..rounds {
        sandbox.host.enter(|| -> Result<()> {
            pin(0)?;
            bare.push(instruments.nanoseconds("bare_drop", &frame, index)?);
            for (_, plane, times) in &mut programs {
                times.push(nanoseconds(plane.program()?, &frame, index)?);
            }
            Ok(())
        })??;
    }
    report.add_step(Step {
        name: "nothing: the bare drop, and what BPF_PROG_TEST_RUN takes itself".to_owned(),
        nanoseconds: Figure::of(bare.clone()),
        more: Figure::of(vec![0.0]),
        jited: 0,
    });
    let mut before = bare;
    for (name, mut plane, times) in programs {
        let more = times.iter().zip(&before).map(|(now, before)| now - before).collect();
        report.add_step(Step {
            name,
            nanoseconds: Figure::of(times.clone()),
            more: Figure::of(more),
            jited: plane.program()?.info()?.size_jitted(),
        });
        before = times;
    }
    Ok(())
}
