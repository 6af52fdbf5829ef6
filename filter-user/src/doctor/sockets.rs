//! Whether the kernel closes connections on demand.

use nix::libc;

use super::Finding;
use crate::sockets::Sockets;

const CHECK: &str = "sock_diag";

pub(super) fn examine() -> Vec<Finding> {
    let tried = Sockets::open().and_then(|sockets| sockets.can_destroy());
    vec![match tried {
        Ok(true) => Finding::ok(CHECK, "connections over a limit, and idle ones, can be closed"),
        Ok(false) => Finding::warning(
            CHECK,
            "this kernel was built without INET_DIAG_DESTROY: connections over a limit stay where handshakes side by side overshot it, and `idle_timeout` has no effect",
        )
        .mend("boot a kernel with CONFIG_INET_DIAG_DESTROY=y, as Debian's has"),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Finding::note(
            CHECK,
            "whether connections can be closed is told to CAP_NET_ADMIN alone",
        )
        .mend("sudo nodewall doctor"),
        Err(error) => Finding::warning(
            CHECK,
            format!("the kernel does not list its sockets ({error}): connections older than the daemon are not counted, and none is closed"),
        )
        .mend("modprobe tcp_diag"),
    }]
}
