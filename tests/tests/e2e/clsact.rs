//! Kernels before 6.6: the classifier is a filter that whoever may can delete.

use std::time::Duration;

use filter_user::dataplane::Hook;
use nodewall_tests::e2e::{Guarded, ready, soon};
use sandbox::{HOST_LINK, PEER_IPV4, PEER_IPV6, UdpOutcome, udp_ask, udp_echo};

#[test]
fn a_classifier_that_somebody_deletes_is_put_back() {
    if !ready() {
        return;
    }
    if Hook::of_kernel() != Hook::Clsact {
        println!(
            "skipped: this kernel's classifiers have links (TCX), which nobody else can take off"
        );
        return;
    }
    let guarded = Guarded::new("interfaces = [\"nw0\"]\n");
    let to = [(PEER_IPV4, 9000).into(), (PEER_IPV6, 9000).into()];
    let _servers = to.map(|to| udp_echo(guarded.peer(), to).expect("a server"));
    let answered = |to, patience| {
        let outcome = udp_ask(guarded.host(), None, to, b"question", patience);
        matches!(outcome.expect("an attempt"), UdpOutcome::Answered(_))
    };
    for round in 1..=3 {
        for at in to {
            assert!(answered(at, soon()), "{at}, round {round}");
        }
        let link = guarded.host().link(HOST_LINK).expect("a link");
        link.delete_clsact().expect("deleted");
        // What was asked before it was back goes unanswered: ask again.
        let back = (0..100).any(|_| answered(to[0], Duration::from_millis(100)));
        assert!(back, "round {round}: no answer comes through any more");
    }
    let told = guarded.daemon.stderr();
    assert_eq!(told.matches("records what interface nw0 sends").count(), 3, "{told}");
}
