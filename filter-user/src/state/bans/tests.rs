use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use super::*;
use crate::dataplane::Until;

type Outcome = Result<(), Box<dyn Error>>;

const THIS_BOOT: BootId = [7; 16];
const HOUR: Duration = Duration::from_secs(3600);

/// Clocks of a moment, so many seconds after all tests began.
fn clocks(seconds: u64, boot_id: BootId) -> Clocks {
    let passed = Duration::from_secs(seconds);
    let wall = UNIX_EPOCH + Duration::from_secs(1_700_000_000) + passed;
    Clocks { wall, boot: Duration::from_secs(100) + passed, boot_id }
}

fn start() -> Clocks {
    clocks(0, THIS_BOOT)
}

fn ban(length: Option<Duration>, reason: Option<&str>) -> Ban {
    let Clocks { wall, boot, .. } = start();
    let until = length.map(|length| Until { boot: boot + length, wall: wall + length, length });
    Ban { until, reason: reason.map(str::to_owned) }
}

fn nets(text: &str) -> Vec<IpNet> {
    text.split_whitespace().filter_map(|net| net.parse().ok()).collect()
}

/// Bans that a test makes, as the daemon holds them.
#[derive(Default, Clone)]
struct Held(Saved);

impl Held {
    fn ban(&mut self, file: &mut BanFile, text: &str, ban: &Ban) -> Result<(), StateError> {
        let (nets, shared) = (nets(text), Arc::new(ban.clone()));
        self.0.extend(nets.iter().map(|net| (*net, Arc::clone(&shared))));
        file.save(&[Change::Ban(&nets, ban)])
    }

    fn unban(&mut self, file: &mut BanFile, text: &str) -> Result<(), StateError> {
        nets(text).iter().try_for_each(|net| {
            self.0.remove(net);
            file.save(&[Change::Unban(net)])
        })
    }

    fn tend(&self, file: &mut BanFile) {
        file.tend(self.0.len(), |after| {
            let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
            self.0.range((from, std::ops::Bound::Unbounded))
        });
    }
}

fn open(directory: &Path) -> (BanFile, Saved) {
    BanFile::open(directory, &start())
}

/// A history, and what held after each of its writes.
fn history(directory: &Path) -> Result<Vec<(u64, Saved)>, Box<dyn Error>> {
    let (mut file, saved) = open(directory);
    assert_eq!(saved, Saved::new());
    let mut held = Held::default();
    let mut states = vec![(0, held.0.clone())];
    let long = "x".repeat(1000);
    let steps: [(&str, Option<Ban>); 7] = [
        ("192.0.2.1/32 10.0.0.0/8 0.0.0.0/0", Some(ban(None, None))),
        ("2001:db8::/32 2001:db8::1/128 ::/0", Some(ban(Some(HOUR), Some("a scan")))),
        ("10.0.0.0/8", None),
        ("192.0.2.1/32", Some(ban(Some(2 * HOUR), Some("again, ä €")))),
        ("198.51.100.0/24", Some(ban(None, Some(&long)))),
        ("2001:db8::1/128", None),
        ("203.0.113.9/32", Some(ban(Some(HOUR), None))),
    ];
    for (text, ban) in steps {
        match ban {
            Some(ban) => held.ban(&mut file, text, &ban)?,
            None => held.unban(&mut file, text)?,
        }
        states.push((fs::metadata(directory.join(NAME))?.len(), held.0.clone()));
    }
    Ok(states)
}

#[test]
fn what_was_saved_is_back() -> Outcome {
    let directory = tempfile::tempdir()?;
    let states = history(directory.path())?;
    let (file, saved) = open(directory.path());
    assert_eq!(Some(&saved), states.last().map(|(_, state)| state));
    assert_eq!(saved.len(), 6);
    assert_eq!((file.problem(), file.lost()), (None, None));
    Ok(())
}

#[test]
fn a_file_cut_at_any_length_loses_no_more_than_the_last_write() -> Outcome {
    let whole = tempfile::tempdir()?;
    let states = history(whole.path())?;
    let bytes = fs::read(whole.path().join(NAME))?;
    for length in 0..=bytes.len() {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join(NAME);
        fs::write(&path, &bytes[..length])?;
        let Some((end, state)) = states.iter().rfind(|(end, _)| *end <= length as u64) else {
            return Err("there is always a state".into());
        };
        let (mut file, saved) = open(directory.path());
        assert_eq!(&saved, state, "cut at {length}");
        let said = file.lost().unwrap_or_default().to_owned();
        if *end == length as u64 {
            assert_eq!(said, "");
        } else {
            let lost = length as u64 - end;
            assert!(said.contains(&format!("({lost} bytes at {end})")), "cut at {length}: {said}");
            assert!(said.contains("was cut off"), "{said}");
        }
        assert!(!directory.path().join(DAMAGED).exists());
        // What is written next is read with all the rest.
        let mut held = Held(saved);
        held.ban(&mut file, "198.51.100.99/32", &ban(None, None))?;
        drop(file);
        let (file, saved) = open(directory.path());
        assert_eq!((saved, file.lost()), (held.0, None), "cut at {length}");
    }
    Ok(())
}

#[test]
fn a_damaged_byte_anywhere_loses_the_write_that_it_is_in_and_no_other() -> Outcome {
    let whole = tempfile::tempdir()?;
    let states = history(whole.path())?;
    let bytes = fs::read(whole.path().join(NAME))?;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        let read = decode(&damaged, &start());
        let from = states.iter().rposition(|(end, _)| *end <= at as u64).unwrap_or_default();
        let (start_of, end_of) = (states[from].0 as usize, states[from + 1].0 as usize);
        let Some(found) = read.damage else { return Err(format!("byte {at}").into()) };
        assert_eq!((found.at, found.bytes), (start_of, end_of - start_of), "byte {at}");
        let without = [&bytes[..start_of], &bytes[end_of..]].concat();
        assert_eq!(read.bans, decode(&without, &start()).bans, "byte {at}");
    }
    Ok(())
}

/// Noise that is the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn noise_loses_what_it_covers_and_the_file_is_kept_and_made_anew() -> Outcome {
    let whole = tempfile::tempdir()?;
    let states = history(whole.path())?;
    let bytes = fs::read(whole.path().join(NAME))?;
    let (second, fourth) = (states[2].0 as usize, states[4].0 as usize);
    let half = [&bytes[..second], &noise(fourth - second)[..], &bytes[fourth..]].concat();
    let zeros = [&bytes[..], &[0; 4096]].concat();
    let magic = [&noise(100)[..], b"nwB1\xff\xff\xff\xff", &bytes[..]].concat();
    for (what, damaged, back) in [
        ("noise alone", noise(10_000), 0),
        ("zeros behind it", zeros, 6),
        // Two were lost: that 10.0.0.0/8 was taken back, and a later ban.
        ("noise in the middle", half, 7),
        ("what looks like a record", magic, 6),
    ] {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join(NAME);
        fs::write(&path, &damaged)?;
        let (mut file, saved) = open(directory.path());
        assert_eq!(saved.len(), back, "{what}");
        let said = file.lost().unwrap_or_default().to_owned();
        assert!(said.contains("are damaged") && said.contains(DAMAGED), "{what}: {said}");
        assert_eq!(fs::read(directory.path().join(DAMAGED))?, damaged, "{what}");
        // It is written anew.
        let held = Held(saved);
        (0..3).for_each(|_| held.tend(&mut file));
        assert_eq!(file.lost(), Some(said.as_str()), "{what}");
        drop(file);
        let (file, saved) = open(directory.path());
        assert_eq!((saved, file.lost()), (held.0, None), "{what}");
    }
    Ok(())
}

#[test]
fn the_file_is_written_anew_when_most_of_it_came_to_nothing() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join(NAME);
    let (mut file, _) = open(directory.path());
    let mut held = Held::default();
    held.ban(&mut file, "10.1.0.0/16 2001:db8::/48", &ban(Some(HOUR), Some("stays")))?;
    let many: Vec<IpNet> = (0..SLACK as u32)
        .map(|n| IpNet::from(std::net::IpAddr::from((n + 1).to_be_bytes())))
        .collect();
    file.save(&[Change::Ban(&many, &ban(None, None))])?;
    let before = fs::metadata(&path)?.len();
    held.tend(&mut file);
    assert!(!directory.path().join(NEW).exists(), "so many are borne with");
    for n in 0..4 {
        held.unban(&mut file, &format!("10.6.{n}.0/24"))?;
    }
    held.tend(&mut file);
    assert!(directory.path().join(NEW).exists());
    // Changes while it is written: to what was listed, and to what is yet to be.
    held.unban(&mut file, "10.1.0.0/16")?;
    held.ban(&mut file, "10.9.0.0/16", &ban(Some(HOUR), None))?;
    held.tend(&mut file);
    assert!(!directory.path().join(NEW).exists());
    assert!(fs::metadata(&path)?.len() * 10 < before);
    held.ban(&mut file, "10.7.0.0/16", &ban(None, None))?;
    drop(file);
    let (file, saved) = open(directory.path());
    assert_eq!((saved, file.lost()), (held.0, None));
    Ok(())
}

#[test]
fn a_crash_while_it_is_written_anew_loses_nothing() -> Outcome {
    let directory = tempfile::tempdir()?;
    let states = history(directory.path())?;
    let last = &states[states.len() - 1].1;
    let (old, new) = (directory.path().join(NAME), directory.path().join(NEW));
    let log = fs::read(&old)?;
    let (mut file, _) = open(directory.path());
    file.catch_up();
    let mut held = Held(last.clone());
    held.tend(&mut file);
    held.ban(&mut file, "192.0.2.77/32", &ban(None, None))?;
    let (old_then, new_then) = (fs::read(&old)?, fs::read(&new)?);
    held.tend(&mut file);
    let renamed = fs::read(&old)?;
    drop(file);
    assert_ne!(renamed, old_then);
    // Before the list, in the middle of it, all of it and not renamed; renamed.
    for (old_bytes, new_bytes, expected) in [
        (&log, Some(&[][..]), last),
        (&old_then, Some(&new_then[..]), &held.0),
        (&old_then, Some(&renamed[..renamed.len() / 2]), &held.0),
        (&old_then, Some(&renamed[..]), &held.0),
        (&renamed, None, &held.0),
    ] {
        fs::write(&old, old_bytes)?;
        if let Some(bytes) = new_bytes {
            fs::write(&new, bytes)?;
        }
        let (file, saved) = open(directory.path());
        assert_eq!((&saved, file.lost()), (expected, None));
        assert!(!new.exists(), "the half of a file is gone");
    }
    Ok(())
}

#[test]
fn a_million_bans_of_one_request_take_five_bytes_each() {
    let nets: Vec<IpNet> =
        (0..1000_u32).map(|n| IpNet::from(std::net::IpAddr::from(n.to_be_bytes()))).collect();
    let mut record = Vec::new();
    encode(Change::Ban(&nets, &ban(Some(HOUR), None)), THIS_BOOT, &mut record);
    assert_eq!(record.len(), 14 + 40 + 5000);
}

fn end_after(saved_at: &Ban, clocks: &Clocks) -> Option<Until> {
    let mut record = Vec::new();
    encode(Change::Ban(&nets("192.0.2.1/32"), saved_at), THIS_BOOT, &mut record);
    decode(&record, clocks).bans.into_values().next()?.until
}

#[test]
fn in_the_same_boot_an_end_is_exact_whatever_the_wall_clock_says() {
    let made = ban(Some(HOUR), None);
    for moved in [0, 86_400 * 365] {
        let mut clocks = clocks(60, THIS_BOOT);
        clocks.wall += Duration::from_secs(moved);
        assert_eq!(end_after(&made, &clocks), made.until);
    }
}

#[test]
fn after_a_reboot_what_is_left_is_told_by_the_wall_clock_and_never_more_than_the_whole() {
    let made = ban(Some(HOUR), None);
    let left = |wall: SystemTime| {
        let clocks = Clocks { wall, boot: Duration::from_secs(5), boot_id: [9; 16] };
        let until = end_after(&made, &clocks);
        until.map(|until| {
            let left = until.boot - clocks.boot;
            assert_eq!(until.wall, wall + left);
            assert_eq!(until.length, HOUR);
            left
        })
    };
    let wall = start().wall;
    assert_eq!(left(wall + Duration::from_secs(600)), Some(Duration::from_secs(3000)));
    assert_eq!(left(wall + HOUR), Some(Duration::ZERO));
    assert_eq!(left(wall + 10 * HOUR), Some(Duration::ZERO));
    // A clock that was set back, or begins at 1970.
    assert_eq!(left(wall - 10 * HOUR), Some(HOUR));
    assert_eq!(left(UNIX_EPOCH), Some(HOUR));
    // Not knowing the boot is as good as another.
    let unknown = Clocks { boot_id: [0; 16], ..clocks(600, THIS_BOOT) };
    let until = end_after(&made, &unknown).map(|until| until.boot - unknown.boot);
    assert_eq!(until, Some(Duration::from_secs(3000)));
}

#[test]
fn after_a_reboot_the_file_is_written_anew_so_that_ends_stay_as_they_are() -> Outcome {
    let directory = tempfile::tempdir()?;
    let (mut file, _) = open(directory.path());
    let mut held = Held::default();
    held.ban(&mut file, "192.0.2.1/32", &ban(Some(HOUR), None))?;
    drop(file);
    let (mut file, saved) = BanFile::open(directory.path(), &clocks(60, [9; 16]));
    let held = Held(saved);
    (0..2).for_each(|_| held.tend(&mut file));
    drop(file);
    let mut later = clocks(120, [9; 16]);
    later.wall += 2 * HOUR;
    let (_, saved) = BanFile::open(directory.path(), &later);
    assert_eq!(saved, held.0);
    Ok(())
}

#[test]
fn a_directory_that_is_not_there_is_told_and_tried_again() -> Outcome {
    let root = tempfile::tempdir()?;
    let directory = root.path().join("state");
    let (mut file, saved) = open(&directory);
    assert_eq!(saved, BTreeMap::new());
    assert!(file.problem().is_some_and(|problem| problem.contains("could not be opened")));
    let mut held = Held::default();
    let said = held.ban(&mut file, "192.0.2.1/32", &ban(None, None));
    assert!(said.is_err_and(|error| error.to_string().contains("could not be opened")));
    fs::create_dir(&directory)?;
    held.ban(&mut file, "192.0.2.2/32", &ban(None, None))?;
    assert!(file.problem().is_some(), "the first is not saved yet");
    (0..3).for_each(|_| held.tend(&mut file));
    assert_eq!(file.problem(), None);
    drop(file);
    assert_eq!(open(&directory).1, held.0);
    Ok(())
}
