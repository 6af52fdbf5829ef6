//! `replay`.

mod judge;
mod progress;
mod report;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::Instant,
};

use self::{judge::Judge, progress::Progress, report::Report};
use super::{args, error::CliError, output::Output};
use crate::{
    capture::{CaptureError, Reader, Record},
    control::ReplayOptions,
    replay::Seen,
};

pub(super) fn replay(socket: &Path, args: &args::Replay, out: &mut Output) -> Result<(), CliError> {
    let failed = |reason: CaptureError| CliError::Capture { file: name(&args.file), reason };
    let (input, length) = open(&args.file).map_err(|error| failed(error.into()))?;
    let mut progress = Progress::new(length);
    // Before anything is loaded for it.
    let mut reader = Reader::new(progress.count(input)).map_err(failed)?;
    let options = ReplayOptions { local: args.local.clone(), interface: args.interface.clone() };
    let mut judge = Judge::new(socket, args.config.as_deref(), options)?;
    let begun = Instant::now();
    let mut report = Report::new(out)?;
    let end = loop {
        match reader.next_record() {
            Ok(Some(record)) => {
                report.see(record.time);
                let Record { n, time, link, original, bytes } = record;
                judge.record(&Seen { time, link, original, bytes }, &mut report)?;
                progress.at(n);
            }
            Ok(None) => break Ok(()),
            // What was read before it is judged all the same.
            Err(error) => break Err(failed(error)),
        }
    };
    judge.finish(&mut report)?;
    progress.clear();
    report.finish(begun.elapsed())?;
    end
}

/// The capture, and how long it is where that is known.
fn open(file: &Path) -> io::Result<(Box<dyn Read>, Option<u64>)> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let opened = File::open(file)?;
    let metadata = opened.metadata()?;
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(opened), length))
}

fn name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}
