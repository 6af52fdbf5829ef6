//! TCP through the filter, against a bare program that passes everything, in
//! the same mode (iperf3 over veth).

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::XdpMode;
use filter_user::{
    compile::{Numbers, compile},
    dataplane::{DataPlane, Interface, Options},
    policy::{self, Attach},
};
use sandbox::{Sandbox, Veth};

use crate::{
    flood::Instruments,
    report::{Goal, Report, Row, median},
};

const POLICY: &str = "[[rule]]\nname = \"iperf\"\nports = [\"tcp/5201\"]\n";
const NUMBER: u32 = 1;
const SECONDS: &str = "2";

/// Both modes; each round measures the bare program, then the filter.
pub fn measure(rounds: u32, report: &mut Report) -> Result<()> {
    let sandbox = Sandbox::pair()?;
    sandbox.fix_neighbours()?;
    let mut instruments = Instruments::load()?;
    let mut plane = DataPlane::load(&Options::default())?;
    let loaded =
        policy::parse(POLICY, "bench.toml".as_ref()).map_err(|e| anyhow::anyhow!("{e}"))?;
    let (mut rules, mut interfaces) = (Numbers::of_rules(), Numbers::of_interfaces());
    plane.switch(&compile(&loaded.policy, &mut rules, &mut interfaces)?)?;
    let modes = [
        ("iperf3 through the filter, native", XdpMode::Driver, Attach::Native),
        ("iperf3 through the filter, generic", XdpMode::Skb, Attach::Generic),
    ];
    for (name, bare_mode, mode) in modes {
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (index, host) = (sandbox.veth.a.index()?, &sandbox.host);
            let link = host.enter(|| instruments.attach("bare_pass", index, bare_mode))??;
            let bare = iperf(&sandbox);
            instruments.detach("bare_pass", link)?;
            let bare = match bare {
                Ok(bare) => bare,
                Err(error) => {
                    report.leave_out(format!("throughput: {error:#}"));
                    return Ok(());
                }
            };
            let interface = interface(&sandbox.veth)?;
            let attached = host.enter(|| plane.attach(&interface, NUMBER, mode))??;
            let ours = iperf(&sandbox);
            drop(attached);
            let ours = ours?;
            rates.push(ours);
            ratios.push(ours / bare);
        }
        let (value, spread) = median(rates);
        report.add(Row {
            name: name.to_owned(),
            value,
            spread,
            unit: "Gb/s",
            ratio: Some(median(ratios).0),
            against: Some("the bare pass"),
            goal: Some(Goal::RatioAtLeast(0.95)),
        });
    }
    Ok(())
}

fn interface(veth: &Veth) -> Result<Interface> {
    Ok(Interface {
        name: veth.a.name().to_owned(),
        index: veth.a.index()?,
        kind: 1,
        mtu: veth.a.mtu()?,
        program: None,
    })
}

/// Gigabits a second that the host receives from the peer.
fn iperf(sandbox: &Sandbox) -> Result<f64> {
    let command = |arguments: &[&str]| {
        let mut command = Command::new("iperf3");
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let mut server = sandbox
        .host
        .spawn(command(&["--server", "--one-off"]))
        .context("is iperf3 installed? `cargo xtask setup --all`")?;
    thread::sleep(Duration::from_millis(300));
    let host = sandbox::HOST_IPV4.to_string();
    let client = sandbox.peer.spawn(command(&["--client", &host, "--time", SECONDS, "--json"]))?;
    let output = client.wait_with_output()?;
    if !output.status.success() {
        // It would wait for another client for good.
        server.kill()?;
    }
    server.wait()?;
    ensure!(output.status.success(), "iperf3 failed: {}", String::from_utf8_lossy(&output.stdout));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let bits = found["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(bits.context("iperf3 printed no rate")? / 1e9)
}
