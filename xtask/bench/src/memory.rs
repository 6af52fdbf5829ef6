//! What the maps take in the kernel, by its own account (`memlock` in
//! /proc/PID/fdinfo; bpf_map_show_fdinfo in kernel/bpf/syscall.c).

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::maps::{ArrayOfMaps, HashMap, Map, MapData, MapError, MapInfo};
use filter_common::tables::{GENERATIONS, SourceKey};
use filter_user::{
    compile::{Numbers, compile},
    dataplane::{DataPlane, Options},
    policy,
};

use crate::{
    controller,
    report::{Report, Row},
};

/// Megabytes of 10^6 bytes.
const GOAL: f64 = 128.0;

/// The tables of bans, which are an operator's choice and stand aside.
const OF_BANS: [&str; 4] = ["BANS_IPV4", "BANS_IPV6", "BAN_PREFIXES", "BAN_BITMAP"];
/// Tables that take memory as they are used: the counts of connections.
const AS_USED: [&str; 2] = ["SLOTS", "MENDED"];

/// `BPF_MAP_TYPE_ARRAY_OF_MAPS` (include/uapi/linux/bpf.h).
const ARRAY_OF_MAPS: u64 = 12;

/// A map, as its file descriptor's fdinfo tells.
struct Found {
    id: u32,
    is_outer: bool,
    places: u32,
    bytes: u64,
}

/// The default policy as it is loaded; then the most there is at default sizes:
/// every generation with lists, and every count of connections taken.
pub fn measure(report: &mut Report) -> Result<()> {
    let mut plane = DataPlane::load(&Options::default())?;
    apply(&mut plane, controller::POLICY)?;
    add(report, "memory of all maps but those of bans, default policy")?;
    let lists = format!(
        "{}\n[sources]\ntrusted = [\"192.0.2.0/24\"]\ndenied = [\"203.0.113.0/24\"]\n",
        controller::POLICY
    );
    for _ in 0..GENERATIONS {
        apply(&mut plane, &lists)?;
    }
    for map in maps()? {
        let data = MapData::from_id(map.id)?;
        let info = data.info()?;
        if info.name_as_str().is_some_and(|name| AS_USED.contains(&name)) {
            fill(data, map.places)?;
        }
    }
    add(report, "the same, four generations with lists, all connections counted")?;
    drop(plane);
    Ok(())
}

fn apply(plane: &mut DataPlane, text: &str) -> Result<()> {
    let loaded =
        policy::parse(text, "bench.toml".as_ref()).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let (mut rules, mut interfaces) = (Numbers::of_rules(), Numbers::of_interfaces());
    Ok(plane.switch(&compile(&loaded.policy, &mut rules, &mut interfaces)?)?)
}

fn add(report: &mut Report, name: &str) -> Result<()> {
    let mut bytes = 0;
    for map in maps()? {
        let info = MapInfo::from_id(map.id)?;
        if !info.name_as_str().is_some_and(|name| OF_BANS.contains(&name)) {
            bytes += map.bytes;
        }
    }
    report.add(Row::of(name, vec![bytes as f64 / 1e6], "MB").below(GOAL));
    Ok(())
}

/// The maps that this process holds, and those inside of them.
fn maps() -> Result<Vec<Found>> {
    let mut found: Vec<Found> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let descriptor = entry?.file_name();
        // The one of the directory itself is gone when it is asked.
        found.extend(read(&Path::new("/proc/self/fdinfo").join(descriptor)));
    }
    let outer: Vec<(u32, u32)> =
        found.iter().filter(|map| map.is_outer).map(|map| (map.id, map.places)).collect();
    for (id, places) in outer {
        let map: ArrayOfMaps<MapData> =
            ArrayOfMaps::try_from(Map::ArrayOfMaps(MapData::from_id(id)?))?;
        for place in 0..places {
            match map.get(&place, 0) {
                Ok(inner) => {
                    let descriptor = inner.fd().as_fd().as_raw_fd();
                    let path = format!("/proc/self/fdinfo/{descriptor}");
                    found.push(read(Path::new(&path)).context("a map tells its memory")?);
                }
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    // Two descriptors may be of one map, and two places of an outer one too.
    found.sort_by_key(|map| map.id);
    found.dedup_by_key(|map| map.id);
    Ok(found)
}

/// `None` where it is no map.
fn read(path: &Path) -> Option<Found> {
    let text = fs::read_to_string(path).ok()?;
    let field = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    Some(Found {
        id: u32::try_from(field("map_id:")?).ok()?,
        is_outer: field("map_type:")? == ARRAY_OF_MAPS,
        places: u32::try_from(field("max_entries:")?).ok()?,
        bytes: field("memlock:")?,
    })
}

/// Takes every place of a table of connections.
fn fill(data: MapData, places: u32) -> Result<()> {
    let mut map: HashMap<MapData, SourceKey, u64> = HashMap::try_from(Map::HashMap(data))?;
    for place in 0..places {
        map.insert(SourceKey { rule: place, ..SourceKey::default() }, 1, 0)?;
    }
    Ok(())
}
