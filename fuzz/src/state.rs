//! The files of the state directory, as a crash, a bad disk or a hand may have
//! left them.

use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use filter_user::{
    dataplane::{Ban, Until},
    fuzzing::{Read, decode, encode, interfaces},
    policy::{ReadError, parse_with},
    state::{
        bans::{Change, Clocks},
        policies::{Doubt, Kept},
    },
};
use ipnet::IpNet;

use crate::{PLANTED, input::Input};

/// The first byte says which file it is.
pub fn state(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 5 {
        0 => bans(input.0),
        1 => bans(&records(&mut input)),
        2 => policy(input.0),
        3 => doubts(input.0),
        _ => remembered(input.0),
    }
}

/// The file of the bans, with sums that are right. Each piece comes after its
/// length, which has a bit for one that is no record.
fn records(input: &mut Input<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    while !input.is_empty() {
        let length = input.short();
        let piece = input.take(usize::from(length & 0x7fff));
        if length & 0x8000 != 0 {
            file.extend(piece);
            continue;
        }
        let length = u32::try_from(piece.len()).unwrap_or_default().to_le_bytes();
        let mut sum = crc32fast::Hasher::new();
        sum.update(&length);
        sum.update(piece);
        file.extend(b"nwB1");
        file.extend(length);
        file.extend(sum.finalize().to_le_bytes());
        file.extend(piece);
    }
    file
}

const BOOT: [u8; 16] = *b"the present boot";

fn bans(bytes: &[u8]) {
    let clocks = Clocks {
        wall: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        boot: Duration::from_secs(1000),
        boot_id: BOOT,
    };
    let read = decode(bytes, &clocks);
    sound(bytes, &read);
    after_a_reboot(bytes, &clocks, &read);

    // Written down again it is the same.
    let mut again = Vec::new();
    for (net, ban) in &read.bans {
        encode(Change::Ban(std::slice::from_ref(net), ban), BOOT, &mut again);
    }
    let copy = decode(&again, &clocks);
    assert_eq!((copy.damage, copy.entries, copy.reckoned), (None, read.bans.len(), false));
    let far = Duration::from_nanos(u64::MAX);
    for ((net, ban), (of_copy, copied)) in read.bans.iter().zip(&copy.bans) {
        assert_eq!((net, &ban.reason), (of_copy, &copied.reason));
        // 584 years after the boot is the last that can be written down.
        let until = ban.until.map(|until| Until { boot: until.boot.min(far), ..until });
        assert_eq!(until, copied.until, "{net}");
    }

    // What lies before it takes nothing from it, nor it from that.
    let first: IpNet = "2001:db8:ffff:ffff::/64".parse().expect("a prefix");
    let forever = Ban { until: None, reason: Some("before".to_owned()) };
    let mut longer = Vec::new();
    encode(Change::Ban(&[first], &forever), BOOT, &mut longer);
    let before = longer.len();
    longer.extend(bytes);
    let mut after = decode(&longer, &clocks);
    assert_eq!(after.entries, read.entries + 1);
    assert_eq!(after.damage.map(|damage| damage.at - before), read.damage.map(|damage| damage.at));
    if read.entries == 0 {
        assert_eq!(after.bans.get(&first).map(|ban| &**ban), Some(&forever));
    }
    after.bans.remove(&first);
    let mut others = read.bans;
    others.remove(&first);
    assert_eq!(after.bans, others);
}

/// What must be true of whatever is read.
fn sound(bytes: &[u8], read: &Read) {
    assert!(read.bans.len() <= read.entries);
    assert!(read.bans.keys().all(|net| *net == net.trunc()));
    if let Some(damage) = read.damage {
        assert!(damage.bytes > 0 && damage.at + damage.bytes <= bytes.len(), "{damage:?}");
        assert!(!damage.is_cut || damage.at + damage.bytes == bytes.len(), "{damage:?}");
    }
}

/// Where the wall clock reckons, no ban is longer than it was made.
fn after_a_reboot(bytes: &[u8], clocks: &Clocks, before: &Read) {
    let clocks = Clocks { boot_id: [0; 16], ..*clocks };
    let read = decode(bytes, &clocks);
    assert!(read.bans.keys().eq(before.bans.keys()));
    assert_eq!((read.entries, read.damage), (before.entries, before.damage));
    for (net, ban) in &read.bans {
        let Some(Until { boot, wall, length }) = ban.until else { continue };
        let mut left = boot - clocks.boot;
        assert_eq!(wall.duration_since(clocks.wall).ok(), Some(left), "{net}");
        if PLANTED && left == length && length > Duration::from_secs(60) {
            left += Duration::from_millis(1);
        }
        assert!(left <= length, "{net} is banned for too long");
    }
}

/// A policy that was confirmed, as a start reads it.
fn policy(bytes: &[u8]) {
    let Ok(kept) = serde_json::from_slice::<Kept>(bytes) else { return };
    assert_eq!(kept.digest().len(), 64);
    let json = serde_json::to_vec(&kept).expect("it is JSON");
    assert_eq!(serde_json::from_slice::<Kept>(&json).ok().as_ref(), Some(&kept));
    let read = &mut |path: &Path| match kept.sets.get(path) {
        Some(content) => Ok(content.clone().into_bytes()),
        None => Err(ReadError::Missing),
    };
    if let Err(errors) = parse_with(&kept.text, &kept.file, read) {
        assert!(!errors.0.is_empty() && !errors.to_string().is_empty());
    }
}

fn doubts(bytes: &[u8]) {
    let Ok(doubts) = serde_json::from_slice::<Vec<Doubt>>(bytes) else { return };
    let json = serde_json::to_vec(&doubts).expect("it is JSON");
    assert_eq!(serde_json::from_slice::<Vec<Doubt>>(&json).ok(), Some(doubts));
}

fn remembered(bytes: &[u8]) {
    let names = interfaces(bytes);
    for name in &names {
        // What the kernel takes for a name (dev_valid_name), and no comment of ours.
        assert!((1..16).contains(&name.len()), "{name:?}");
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
        assert!(!name.contains(is_odd) && name != "." && name != "..", "{name:?}");
    }
    let text: String = names.iter().flat_map(|name| [name, "\n"]).collect();
    assert_eq!(interfaces(text.as_bytes()), names);
}
