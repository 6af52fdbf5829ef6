//! Bans, as the command line asks for them.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use humantime::format_rfc3339_seconds;
use ipnet::IpNet;
use tracing::info;

use super::Owner;
use crate::{
    control::{BanEntry, BanPage, Banned, Note, Unbanned},
    daemon::DaemonError,
    dataplane::{Ban, MapFault, Until, boot_time},
};

/// Bans on one page, and how many of them at most.
const PAGE: u32 = 10_000;
/// Longer is for good; and RFC 3339 has no year 10,000.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
/// Warnings of one request.
const NOTES: usize = 10;

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
        let mut warnings = Vec::new();
        for (index, prefix) in prefixes.iter().enumerate() {
            let trusted = self.check_trust(prefix, force, &mut warnings);
            trusted.map_or(Ok(()), |trusted| {
                Err(DaemonError::Trusted { prefix: prefix.trunc(), trusted, index })
            })?;
        }
        let mut banned = 0;
        if !only_check {
            // Those that ran out since the last sweep make room.
            self.plane.bans().expire()?;
            self.check_room(prefixes)?;
            for prefix in prefixes {
                self.plane.bans().add(*prefix, Ban { until, reason: reason.clone() })?;
                banned += 1;
            }
            match prefixes {
                [prefix] => info!("banned {prefix}"),
                _ => info!("banned {banned} prefixes"),
            }
        }
        let until = until.map(|until| format_rfc3339_seconds(until.wall).to_string());
        Ok(Banned { banned, until, warnings })
    }

    /// Whether all of them fit.
    fn check_room(&self, prefixes: &[IpNet]) -> Result<(), MapFault> {
        let bans = self.plane.bans_ref();
        let new: BTreeSet<IpNet> =
            prefixes.iter().map(IpNet::trunc).filter(|net| !bans.holds(net)).collect();
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
        self.plane.bans().expire()?;
        if !self.plane.bans().remove(&prefix)? {
            return Err(DaemonError::NotBanned(prefix));
        }
        info!("took back the ban of {prefix}");
        Ok(Unbanned { prefix })
    }

    /// Those of one page; none that has run out.
    pub(super) fn bans(&self, after: Option<IpNet>, limit: Option<u32>) -> BanPage {
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE) as usize;
        let now = boot_time();
        let holds = |ban: &Ban| ban.until.is_none_or(|until| now < until.boot);
        let mut held = self.plane.bans_ref().after(after).filter(|(_, ban)| holds(ban)).map(
            |(prefix, ban)| BanEntry {
                prefix: *prefix,
                until: ban.until.map(|until| format_rfc3339_seconds(until.wall).to_string()),
                reason: ban.reason.clone(),
            },
        );
        let bans: Vec<BanEntry> = held.by_ref().take(limit).collect();
        let next = held.next().and_then(|_| bans.last()).map(|last| last.prefix);
        BanPage { bans, next }
    }
}

/// The end of a ban that begins now.
fn end_of(milliseconds: u64) -> Result<Until, DaemonError> {
    let length = Duration::from_millis(milliseconds);
    let wall = SystemTime::now().checked_add(length);
    match wall.filter(|_| !length.is_zero() && length <= LONGEST) {
        Some(wall) => Ok(Until { boot: boot_time() + length, wall }),
        None => Err(DaemonError::BanTime(milliseconds)),
    }
}
