//! The sources that the program takes for known: they completed a handshake.

use std::{fs, io, process};

use aya::maps::{Array, Map, MapData, loaded_maps};
use sandbox::Daemon;

/// Words of a bucket (`filter_common::known`).
const WAYS: usize = filter_common::known::WAYS;

/// How many sources stand in the daemon's map `KNOWN`.
///
/// # Panics
/// If the daemon has no such map.
#[track_caller]
#[must_use]
pub fn known_sources(daemon: &Daemon) -> usize {
    let ids = map_ids(daemon.pid()).expect("the daemon's open files are listed");
    let info = loaded_maps()
        .filter_map(Result::ok)
        .find(|info| info.name_as_str() == Some("KNOWN") && ids.contains(&info.id()))
        .unwrap_or_else(|| {
            panic!("daemon {} has no map `KNOWN` ({})", daemon.pid(), process::id())
        });
    let map = Map::Array(MapData::from_id(info.id()).expect("it opens"));
    let buckets: Array<_, [u64; WAYS]> = Array::try_from(map).expect("an array of buckets");
    let buckets = buckets.iter().map(|bucket| bucket.expect("read"));
    buckets.flatten().filter(|word| *word != 0).count()
}

/// The maps that a process has open (proc(5), `fdinfo`).
fn map_ids(pid: u32) -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A file that was closed meanwhile is no map.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("map_id:"));
        ids.extend(id.and_then(|id| id.trim().parse::<u32>().ok()));
    }
    Ok(ids)
}
