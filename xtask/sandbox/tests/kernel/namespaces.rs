//! Namespaces: what is inside, what is not, who is in.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::{fs::MetadataExt, process::ExitStatusExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, Stdio},
};

use crate::{eventually, ready};
use sandbox::{Error, Namespace, Veth, VethOptions};

/// The number of the network namespace that the calling thread is in.
fn here() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").expect("procfs is mounted").ino()
}

#[test]
fn a_closure_runs_inside_and_its_thread_alone() {
    if !ready() {
        return;
    }
    let namespace = Namespace::new("inside").expect("a namespace");
    let outside = here();
    let mut seen = 0;
    // It may borrow from the caller.
    let listener = namespace
        .enter(|| {
            seen = here();
            TcpListener::bind("127.0.0.1:0").expect("lo is up")
        })
        .expect("entered");
    assert_ne!(seen, outside);
    assert_eq!(here(), outside);
    assert_eq!(fs::metadata(namespace.path()).expect("open").ino(), seen);
    // The socket stayed inside: nobody listens on that port out here.
    let address = listener.local_addr().expect("bound");
    assert!(std::net::TcpStream::connect(address).is_err());
    namespace.enter(|| std::net::TcpStream::connect(address).expect("inside")).expect("entered");
}

#[test]
fn namespaces_differ_and_clones_do_not() {
    if !ready() {
        return;
    }
    let (a, b) =
        (Namespace::new("a").expect("a namespace"), Namespace::new("a").expect("a namespace"));
    let number = |namespace: &Namespace| namespace.enter(here).expect("entered");
    assert_ne!(number(&a), number(&b));
    assert_eq!(number(&a), number(&a.clone()));
    assert_eq!(a.tag(), "a");
}

#[test]
fn a_panic_goes_on_in_the_caller() {
    if !ready() {
        return;
    }
    let namespace = Namespace::new("panics").expect("a namespace");
    let panic = catch_unwind(AssertUnwindSafe(|| namespace.enter(|| panic!("from inside"))))
        .expect_err("it panicked");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"from inside"));
    // It is as good as before.
    namespace.enter(|| UdpSocket::bind("127.0.0.1:0").expect("lo is up")).expect("entered");
}

#[test]
fn a_process_is_inside_with_its_own_sys_and_bpffs() {
    if !ready() {
        return;
    }
    let namespace = Namespace::new("process").expect("a namespace");
    Veth::new((&namespace, "x"), (&namespace, "y"), VethOptions::default()).expect("a pair");
    let files = namespace.files();
    fs::write(namespace.outside(&files.join("note")), "hello").expect("written from outside");
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").stdout(Stdio::piped()).arg(format!(
        "cd /sys/class/net && echo *; cat {0}/note; echo; mkdir {1}/pins && echo pins; readlink /proc/self/ns/net",
        files.display(),
        namespace.bpffs().display()
    ));
    let output = namespace.spawn(shell).expect("started").wait_with_output().expect("waited");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    let inside = namespace.enter(here).expect("entered");
    assert_eq!(lines, ["lo x y", "hello", "pins", &format!("net:[{inside}]")]);
    // The directory is on the namespace's bpffs alone.
    let pins = namespace.bpffs().join("pins");
    assert!(namespace.outside(&pins).is_dir());
    assert!(!pins.exists());
    assert!(!files.exists());
    assert_eq!(namespace.outside(Path::new("/etc/hosts")), Path::new("/etc/hosts"));
}

#[test]
fn a_process_ends_with_its_namespace() {
    if !ready() {
        return;
    }
    let namespace = Namespace::new("ends").expect("a namespace");
    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    let mut child = namespace.spawn(sleep).expect("started");
    assert!(child.try_wait().expect("waited").is_none());
    drop(namespace);
    let status = child.wait().expect("waited");
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    if !ready() {
        return;
    }
    let namespace = Namespace::new("nothing").expect("a namespace");
    let error = namespace.spawn(Command::new("/no/such/program")).expect_err("there is none");
    assert!(matches!(error, Error::Spawn { .. }));
    let text = error.to_string();
    assert!(text.contains("/no/such/program") && text.contains("`nothing`"), "{text}");
}

#[test]
fn parameters_are_the_namespaces_own() {
    if !ready() {
        return;
    }
    let namespace = Namespace::new("parameters").expect("a namespace");
    let read = || fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies").expect("read");
    let outside = read();
    for value in ["0", "2"] {
        namespace.set_parameter("net/ipv4/tcp_syncookies", value).expect("written");
        assert_eq!(namespace.enter(read).expect("entered").trim(), value);
    }
    assert_eq!(read(), outside);
    let error = namespace.set_parameter("net/ipv4/no_such", "1").expect_err("there is none");
    assert!(error.to_string().contains("/proc/sys/net/ipv4/no_such"), "{error}");
}

#[test]
fn nothing_is_held_after_the_last_clone() {
    if !ready() {
        return;
    }
    let namespace = Namespace::new("held").expect("a namespace");
    let number = namespace.enter(here).expect("entered");
    // Held by the test, so that no other namespace gets its number.
    let holder = fs::File::open(namespace.path()).expect("open");
    let clone = namespace.clone();
    drop(namespace);
    assert_eq!(clone.enter(here).expect("entered"), number);
    drop(clone);
    let link = format!("net:[{number}]");
    let held = |directory: &str| {
        let entries = fs::read_dir(directory).expect("procfs is mounted").flatten();
        entries
            .filter(|entry| {
                fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == link.as_str())
            })
            .count()
    };
    assert_eq!(held("/proc/self/fd"), 1, "the holder alone");
    eventually("no thread is in it", || {
        let threads = fs::read_dir("/proc/self/task").expect("procfs is mounted").flatten();
        threads.map(|thread| held(&format!("{}/ns", thread.path().display()))).sum::<usize>() == 0
    });
    drop(holder);
}
