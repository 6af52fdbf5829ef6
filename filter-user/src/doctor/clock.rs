//! The clock: ends of bans and confirmations are told by it, and it must not jump.
#![expect(unsafe_code, reason = "no crate that this one has reads adjtimex(2)")]

use std::{io, mem::MaybeUninit};

use nix::libc;

use super::Finding;

const CHECK: &str = "clock";

pub(super) fn examine() -> Finding {
    finding(status())
}

fn finding(status: io::Result<i32>) -> Finding {
    match status {
        Ok(status) if status & libc::STA_UNSYNC == 0 => {
            Finding::ok(CHECK, "the clock is synchronised")
        }
        Ok(_) => Finding::warning(
            CHECK,
            "the clock is not synchronised: times of logs are wrong, and a ban's end that is kept over a reboot may be",
        )
        .mend("timedatectl set-ntp true (or install chrony)"),
        Err(error) => {
            Finding::note(CHECK, format!("the kernel does not tell of its clock ({error})"))
                .mend("timedatectl")
        }
    }
}

/// The kernel's word on its clock, which is not changed.
fn status() -> io::Result<i32> {
    let mut clock = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: all zeroes are a `timex` that asks for no change (`modes` is 0), and the kernel writes no more than it.
    let answer = unsafe { libc::adjtimex(clock.as_mut_ptr()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a structure of integers, of which any bits are a value.
    Ok(unsafe { clock.assume_init() }.status)
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    #[test]
    fn a_clock_that_runs_free_is_told() {
        assert_eq!(finding(Ok(0)).level, Level::Ok);
        assert_eq!(finding(Ok(libc::STA_PLL)).level, Level::Ok);
        assert_eq!(finding(Ok(libc::STA_UNSYNC | libc::STA_PLL)).level, Level::Warning);
        assert_eq!(finding(Err(io::ErrorKind::PermissionDenied.into())).level, Level::Note);
        assert!(status().is_ok());
    }
}
