//! What the classifier costs that records what is sent: TCP with it against
//! TCP without it, the XDP program at work in both.

use anyhow::Result;
use aya::programs::XdpMode;
use filter_user::dataplane::{DataPlane, Hook};
use sandbox::Sandbox;

use crate::{
    iperf::{self, Direction},
    report::{Report, Row},
    throughput::{NUMBER, interface, plane},
};

/// Both modes and both directions. Which comes first alternates, because a
/// machine that others use drifts.
pub fn measure(rounds: u32, object: Option<&[u8]>, report: &mut Report) -> Result<()> {
    let sandbox = Sandbox::pair()?;
    sandbox.fix_neighbours()?;
    let mut plane = plane(object)?;
    let cases = [
        ("iperf3 with the classifier, native, data received", XdpMode::Driver, Direction::In),
        ("iperf3 with the classifier, native, data sent", XdpMode::Driver, Direction::Out),
        ("iperf3 with the classifier, generic, data received", XdpMode::Skb, Direction::In),
        ("iperf3 with the classifier, generic, data sent", XdpMode::Skb, Direction::Out),
    ];
    for (name, mode, direction) in cases {
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let first = round % 2 == 0;
            let mut run = |with| rate(&sandbox, &mut plane, mode, direction, with);
            let rate_of = match (run(first), run(!first)) {
                (Ok(one), Ok(other)) if first => (one, other),
                (Ok(one), Ok(other)) => (other, one),
                (Err(error), _) | (_, Err(error)) => {
                    report.leave_out_all("what the classifier costs", &format!("{error:#}"));
                    return Ok(());
                }
            };
            rates.push(rate_of.0);
            ratios.push(rate_of.0 / rate_of.1);
        }
        report.add(Row::of(name, rates, "Gb/s").at_least(0.95, ratios, "without it"));
    }
    Ok(())
}

/// Gigabits a second through the XDP program, with the classifier or without.
fn rate(
    sandbox: &Sandbox,
    plane: &mut DataPlane,
    mode: XdpMode,
    direction: Direction,
    with: bool,
) -> Result<f64> {
    let interface = interface(&sandbox.veth)?;
    plane.guard(interface.index, NUMBER, false)?;
    let links = sandbox.host.enter(|| -> Result<_> {
        let classifier =
            if with { Some(plane.attach_classifier(&interface, Hook::of_kernel())?) } else { None };
        let program = plane.program()?;
        let id = program.attach_to_if_index(interface.index, mode)?;
        Ok((program.take_link(id)?, classifier))
    })??;
    let rate = iperf::run(sandbox, direction);
    drop(links);
    rate
}
