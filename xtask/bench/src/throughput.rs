//! TCP through the filter, against a bare program that passes everything, in
//! the same mode (iperf3 over veth).

use anyhow::Result;
use aya::programs::XdpMode;
use filter_user::{
    compile::{Numbers, compile},
    dataplane::{DataPlane, Interface, Options},
    policy::{self, Attach},
};
use sandbox::{Sandbox, Veth};

use crate::{
    iperf::{self, Direction},
    report::{Report, Row},
};
use bench::flood::Instruments;

/// The interface's number in the tables; any will do.
pub const NUMBER: u32 = 1;

/// Both modes; each round measures the bare program, then the filter.
pub fn measure(rounds: u32, object: Option<&[u8]>, report: &mut Report) -> Result<()> {
    let sandbox = Sandbox::pair()?;
    sandbox.fix_neighbours()?;
    let mut instruments = Instruments::load()?;
    let mut plane = plane(object)?;
    let modes = [
        ("iperf3 through the filter, native", XdpMode::Driver, Attach::Native),
        ("iperf3 through the filter, generic", XdpMode::Skb, Attach::Generic),
    ];
    for (name, bare_mode, mode) in modes {
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (index, host) = (sandbox.veth.a.index()?, &sandbox.host);
            let link = host.enter(|| instruments.attach("bare_pass", index, bare_mode))??;
            let bare = iperf::run(&sandbox, Direction::In);
            instruments.detach("bare_pass", link)?;
            let bare = match bare {
                Ok(bare) => bare,
                Err(error) => {
                    report.leave_out_all("throughput", &format!("{error:#}"));
                    return Ok(());
                }
            };
            let interface = interface(&sandbox.veth)?;
            let attached = host.enter(|| plane.attach(&interface, NUMBER, mode))??;
            let ours = iperf::run(&sandbox, Direction::In);
            drop(attached);
            let ours = ours?;
            rates.push(ours);
            ratios.push(ours / bare);
        }
        report.add(Row::of(name, rates, "Gb/s").at_least(0.95, ratios, "the bare pass"));
    }
    Ok(())
}

/// The filter under a policy that lets iperf3 through, attached to nothing.
pub fn plane(object: Option<&[u8]>) -> Result<DataPlane> {
    let mut plane = DataPlane::load(&Options { object, ..Options::default() })?;
    let loaded =
        policy::parse(iperf::POLICY, "bench.toml".as_ref()).map_err(|e| anyhow::anyhow!("{e}"))?;
    let (mut rules, mut interfaces) = (Numbers::of_rules(), Numbers::of_interfaces());
    plane.switch(&compile(&loaded.policy, &mut rules, &mut interfaces)?)?;
    Ok(plane)
}

/// The host's end of a link.
pub fn interface(veth: &Veth) -> Result<Interface> {
    Ok(Interface {
        name: veth.a.name().to_owned(),
        index: veth.a.index()?,
        kind: 1,
        mtu: veth.a.mtu()?,
        program: None,
        mode: None,
    })
}
