//! Bans, as the command line asks for them.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use humantime::format_rfc3339_seconds;
use ipnet::IpNet;
use tracing::{error, info, warn};

use super::Owner;
use crate::{
    control::{BanEntry, BanPage, Banned, Note, Unbanned},
    daemon::DaemonError,
    dataplane::{Ban, BootTime, DataPlane, MapFault, Restored, Until, boot_time},
    state::{
        StateError,
        bans::{BanFile, Change, Clocks},
    },
};

/// Bans on one page, and how many of them at most.
const PAGE: u32 = 10_000;
/// Longer is for good; and RFC 3339 has no year 10,000.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
/// Warnings of one request.
const NOTES: usize = 10;
/// Prefixes of one request: others wait for as long as it takes.
const MOST: usize = 100_000;
/// The longest reason, in bytes: a page of them fits into an answer.
const LONGEST_REASON: usize = 1000;
/// Bans that are taken out at a time when they have run out.
const SWEEP: usize = 20_000;

impl Owner {
    /// Bans all of `prefixes`, or none where one is trusted.
    pub(super) fn ban(
        &mut self,
        prefixes: &[IpNet],
        for_ms: Option<u64>,
        reason: Option<String>,
        force: bool,
        only_check: bool,
    ) -> Result<Banned, DaemonError> {
        let until = for_ms.map(end_of).transpose()?;
        if prefixes.len() > MOST {
            return Err(DaemonError::BanCount { given: prefixes.len(), most: MOST });
        }
        if reason.as_ref().is_some_and(|reason| reason.len() > LONGEST_REASON) {
            return Err(DaemonError::BanReason(LONGEST_REASON));
        }
        let mut warnings = Vec::new();
        for (index, prefix) in prefixes.iter().enumerate() {
            let trusted = self.check_trust(prefix, force, &mut warnings);
            trusted.map_or(Ok(()), |trusted| {
                Err(DaemonError::Trusted { prefix: prefix.trunc(), trusted, index })
            })?;
        }
        self.check_ban_lock_out(prefixes, force)?;
        let mut banned = 0;
        if !only_check {
            // Those that ran out since the last sweep make room.
            self.plane.bans().expire(SWEEP)?;
            self.check_room(prefixes)?;
            let ban = Arc::new(Ban { until, reason });
            self.ban_all(prefixes, &ban)?;
            banned = prefixes.len() as u64;
            let saved = self.ban_file.save(&[Change::Ban(prefixes, &ban)]);
            warnings.extend(saved.err().map(|error| unsaved("banned", &error)));
            match prefixes {
                [prefix] => info!("banned {prefix}"),
                _ => info!("banned {banned} prefixes"),
            }
        }
        let until = until.map(|until| format_rfc3339_seconds(until.wall).to_string());
        Ok(Banned { banned, until, warnings })
    }

    /// All of them, or as it was before.
    fn ban_all(&mut self, prefixes: &[IpNet], ban: &Arc<Ban>) -> Result<(), MapFault> {
        let bans = self.plane.bans();
        let mut done = Vec::with_capacity(prefixes.len());
        for prefix in prefixes {
            match bans.add(*prefix, Arc::clone(ban)) {
                Ok(before) => done.push((prefix, before)),
                Err(error) => {
                    for (prefix, before) in done.into_iter().rev() {
                        let undone = match before {
                            Some(before) => bans.add(*prefix, before).map(drop),
                            None => bans.remove(prefix).map(drop),
                        };
                        undone.unwrap_or_else(|error| {
                            error!("{prefix} stays banned, although its list is not: {error}");
                        });
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes out bans that have run out, and sees to their file.
    pub(super) fn tend_bans(&mut self) {
        if let Err(error) = self.plane.bans().expire(SWEEP) {
            error!("bans that have run out could not be taken out: {error}");
        }
        let bans = self.plane.bans_ref();
        self.ban_file.tend(bans.len(), |after| bans.after(after));
    }

    /// Whether all of them fit.
    fn check_room(&self, prefixes: &[IpNet]) -> Result<(), MapFault> {
        let bans = self.plane.bans_ref();
        let fits = |(entries, capacity): (u32, u32)| {
            entries as usize + prefixes.len() <= capacity as usize
        };
        if bans.fill().into_iter().all(fits) {
            return Ok(());
        }
        let new: BTreeSet<IpNet> =
            prefixes.iter().map(IpNet::trunc).filter(|net| bans.get(net).is_none()).collect();
        let wide = new.iter().filter(|net| net.prefix_len() < net.max_prefix_len()).count();
        let [single_fill, wide_fill] = bans.fill();
        let tables = [("bans", new.len() - wide, single_fill), ("ban_prefixes", wide, wide_fill)];
        for (table, more, (entries, capacity)) in tables {
            if entries as usize + more > capacity as usize {
                return Err(MapFault::Full { table, capacity });
            }
        }
        Ok(())
    }

    /// Trusted sources pass whatever is banned. What forbids the ban of a
    /// prefix: the trusted one that holds it.
    fn check_trust(&self, prefix: &IpNet, force: bool, warnings: &mut Vec<Note>) -> Option<IpNet> {
        let trusted = &self.in_force.loaded.policy.trusted;
        // Sorted, and none inside of another.
        let after = trusted.partition_point(|other| other.network() <= prefix.network());
        let before = after.checked_sub(1).map(|last| trusted[last]);
        if let Some(trusted) = before.filter(|trusted| trusted.contains(prefix)) {
            if !force {
                return Some(trusted);
            }
            warnings.push(Note::new(format!(
                "{prefix} is inside of {trusted}, which the policy trusts: the ban has no effect as long as it does"
            )));
        }
        let inside = before.into_iter().chain(trusted.get(after).copied());
        let inside = inside.filter(|trusted| trusted != prefix && prefix.contains(trusted));
        for trusted in inside.take(NOTES.saturating_sub(warnings.len())) {
            warnings.push(Note::new(format!(
                "{prefix} holds {trusted}, which the policy trusts and which still passes"
            )));
        }
        None
    }

    pub(super) fn unban(&mut self, prefix: IpNet) -> Result<Unbanned, DaemonError> {
        let prefix = prefix.trunc();
        let now = boot_time();
        let held = self.plane.bans_ref().get(&prefix).filter(|ban| holds(ban, now)).is_some();
        self.plane.bans().remove(&prefix)?;
        if !held {
            return Err(DaemonError::NotBanned(prefix));
        }
        let saved = self.ban_file.save(&[Change::Unban(&prefix)]);
        info!("took back the ban of {prefix}");
        let warnings = saved.err().map(|error| unsaved("taken back", &error)).into_iter().collect();
        Ok(Unbanned { prefix, warnings })
    }

    /// Those of one page; none that has run out.
    pub(super) fn bans(&self, after: Option<IpNet>, limit: Option<u32>) -> BanPage {
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE) as usize;
        let now = boot_time();
        let held = self.plane.bans_ref().after(after).filter(|(_, ban)| holds(ban, now));
        let mut held = held.map(|(prefix, ban)| BanEntry {
            prefix: *prefix,
            until: ban.until.map(|until| format_rfc3339_seconds(until.wall).to_string()),
            reason: ban.reason.clone(),
        });
        let bans: Vec<BanEntry> = held.by_ref().take(limit).collect();
        let next = held.next().and_then(|_| bans.last()).map(|last| last.prefix);
        BanPage { bans, next }
    }
}

/// Brings back the bans that were saved.
pub(super) fn restore(plane: &mut DataPlane, state: &Path) -> Result<BanFile, DaemonError> {
    let (mut file, saved) = BanFile::open(state, &Clocks::now());
    let found = saved.len();
    let Restored { adopted, no_room } = plane.bans().restore(saved)?;
    if no_room > 0 {
        warn!(
            "{no_room} of {found} saved bans are not back, for `[tables] bans` has no room for them: raise it and restart the daemon"
        );
        file.spare();
    } else if adopted > 0 {
        file.catch_up();
    }
    if found > 0 || adopted > 0 {
        let all = plane.bans_ref().len();
        info!("{all} bans are in force from before, {adopted} of them by the kernel's word alone");
    }
    Ok(file)
}

/// What to say of a change that holds and is not on the disk.
fn unsaved(what: &str, error: &StateError) -> Note {
    Note::new(format!("{what}, until this host is restarted: {error}; nodewall tries again"))
}

fn holds(ban: &Ban, now: BootTime) -> bool {
    ban.until.is_none_or(|until| now < until.boot)
}

/// The end of a ban that begins now.
fn end_of(milliseconds: u64) -> Result<Until, DaemonError> {
    let length = Duration::from_millis(milliseconds);
    let until = Until::after(length).filter(|_| !length.is_zero() && length <= LONGEST);
    until.ok_or(DaemonError::BanTime(milliseconds))
}
