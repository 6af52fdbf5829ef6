//! Each way a guest can end, on a real boot: `cargo test -p xtask vm -- --ignored`.

use std::time::Duration;

use crate::outer;

use super::Place;
use super::boot::{Boot, Machine, Outcome};
use super::initrd::{self, Init};
use super::kernels::{self, Kernel};
use super::payload::Payload;

/// Boots 6.1 with one shell command.
fn boot(command: &str, limit: Duration) -> Boot {
    let place = Place::open(&outer::workspace().join("target/vm")).expect("a directory");
    let kernels =
        kernels::fetch(&place.dir("kernels").expect("a directory"), &[Kernel::V6_1], false)
            .expect("a kernel");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let archive = dir.path().join("initrd");
    let payload = Payload {
        files: vec![],
        commands: vec![["/bin/sh", "-c", command].map(str::to_owned).into()],
        env: vec![("GREETING".to_owned(), "it's me".to_owned())],
    };
    let busybox = initrd::find_busybox().expect("busybox");
    initrd::build(&archive, &busybox, &kernels[0].modules, Init::Payload, &payload)
        .expect("an archive");
    let mut machine = Machine::new().expect("QEMU");
    machine.limit = limit;
    machine.boot(&kernels[0].image, &archive, &dir.path().join("log"), |_| {}).expect("a boot")
}

const ENOUGH: Duration = Duration::from_secs(60);

#[test]
#[ignore = "boots a virtual machine"]
fn a_guest_that_passes_has_its_modules_mounts_and_environment() {
    let boot = boot(
        "set -e; [ \"$GREETING\" = \"it's me\" ]; [ -e /dev/net/tun ]; [ -d /sys/fs/bpf ]
         for module in veth dummy tun sch_ingress cls_bpf bridge 8021q; do grep -q \"^$module \" /proc/modules; done
         ip link add v0 type veth; ip link set v0 up; mount | grep -q 'type bpf'; mount | grep -q 'type tracefs'",
        ENOUGH,
    );
    assert!(matches!(boot.outcome, Outcome::Passed), "{}: {:#?}", boot.outcome, boot.tail);
}

#[test]
#[ignore = "boots a virtual machine"]
fn an_exit_code_is_told() {
    let boot = boot("printf 'not ended'; exit 3", ENOUGH);
    assert_eq!(boot.outcome.to_string(), "failed: `sh` ended with exit code 3");
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_panic_is_told() {
    let boot = boot("echo c > /proc/sysrq-trigger", ENOUGH);
    assert!(matches!(boot.outcome, Outcome::Panicked { .. }), "{}: {:#?}", boot.outcome, boot.tail);
    assert_eq!(
        boot.outcome.to_string(),
        "the kernel panicked while `sh` ran: sysrq triggered crash"
    );
    assert!(boot.tail.iter().any(|line| line.contains("Kernel panic")), "{:#?}", boot.tail);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_hang_is_told_with_what_was_said_last() {
    let boot = boot("printf 'so far'; sleep 1000", Duration::from_secs(30));
    assert_eq!(boot.outcome.to_string(), "hung while `sh` ran: it was stopped after 30 s");
    assert_eq!(boot.tail.last().map(String::as_str), Some("so far"));
    // The limit counts from the start of the command.
    assert!(boot.took < Duration::from_secs(65), "{:?}", boot.took);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_guest_that_powers_off_early_has_no_result() {
    let boot = boot("poweroff -f", ENOUGH);
    assert!(matches!(boot.outcome, Outcome::Ended { .. }), "{}: {:#?}", boot.outcome, boot.tail);
}
