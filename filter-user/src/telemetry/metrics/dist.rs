//! What is shipped beside the exporter names only what it exports: the
//! dashboard and the alerts.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::families;

/// A file below `dist/`, or of its tests.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

const DASHBOARD: &str = "dist/grafana/nodewall.json";
const RULES: &str = "dist/prometheus/nodewall.rules.yml";
const RULES_TEST: &str = "tests/prometheus/nodewall.rules.test.yml";

/// Every name of a metric in a text, with the labels that its selectors name.
fn named(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in text.match_indices("nodewall_") {
        let rest = &text[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let labels = found.entry(rest[..end].to_owned()).or_default();
        let selector = rest[end..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let matchers = selector.map_or("", |(matchers, _)| matchers).split(',');
        labels.extend(
            matchers
                .filter_map(|matcher| matcher.split_once(['=', '!']))
                .map(|(label, _)| label.trim().to_owned()),
        );
    }
    found
}

/// All strings under a key, however deep.
fn strings<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(key).and_then(Value::as_str));
            map.values().for_each(|value| strings(value, key, found));
        }
        Value::Array(list) => list.iter().for_each(|value| strings(value, key, found)),
        _ => {}
    }
}

/// The expressions of the dashboard, with values for its variables.
fn expressions(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    strings(dashboard, "expr", &mut found);
    found.into_iter().map(|expr| expr.replace("$__rate_interval", "1m")).collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_and_labels_that_exist() -> io::Result<()> {
    // Those of a target, which Prometheus adds.
    let of_target = ["job", "instance"];
    for file in [DASHBOARD, RULES, RULES_TEST] {
        let text = std::fs::read_to_string(path(file))?;
        let text = text.replace("\\\"", "\"");
        let named = named(&text);
        assert!(named.len() > 5, "{file}: {named:?}");
        for (name, labels) in named {
            let family = families().iter().find(|family| family.name == name);
            let family = family.unwrap_or_else(|| panic!("{file}: there is no metric {name}"));
            for label in labels.iter().filter(|label| !of_target.contains(&label.as_str())) {
                assert!(family.labels.contains(&label.as_str()), "{file}: {name} has no {label}");
            }
        }
    }
    Ok(())
}

#[test]
fn every_metric_is_on_the_dashboard_or_in_an_alert() -> io::Result<()> {
    let shown = [DASHBOARD, RULES].map(|file| std::fs::read_to_string(path(file)));
    let [dashboard, rules] = shown;
    let text = dashboard? + &rules?;
    for family in families() {
        assert!(text.contains(family.name), "{} is shown nowhere", family.name);
    }
    Ok(())
}

#[test]
fn the_dashboard_loads_without_a_change() -> io::Result<()> {
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path(DASHBOARD))?)?;
    // An export for sharing asks for inputs, which provisioning does not give.
    assert!(dashboard.get("__inputs").is_none() && dashboard.get("__requires").is_none());
    assert!(dashboard["id"].is_null(), "Grafana gives the number");
    assert_eq!(dashboard["uid"], "nodewall");
    let mut sources = Vec::new();
    strings(&dashboard["panels"], "uid", &mut sources);
    assert!(!sources.is_empty());
    assert!(sources.iter().all(|uid| *uid == "${datasource}"), "{sources:?}");
    let panels = dashboard["panels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut taken: Vec<[u64; 4]> = Vec::new();
    for panel in panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64());
        let (Some(x), Some(y), Some(w), Some(h)) = (x, y, w, h) else { panic!("{panel}") };
        assert!(x + w <= 24, "{} is wider than the page", panel["title"]);
        let apart = |other: &[u64; 4]| {
            let [ox, oy, ow, oh] = other;
            x + w <= *ox || ox + ow <= x || y + h <= *oy || oy + oh <= y
        };
        assert!(taken.iter().all(apart), "{} covers another panel", panel["title"]);
        taken.push([x, y, w, h]);
        assert!(!expressions(panel).is_empty(), "{} shows nothing", panel["title"]);
    }
    Ok(())
}

/// Runs promtool where it is, and expects that it has nothing to object.
fn promtool(arguments: &[&str], files: &[&Path]) -> io::Result<()> {
    let Some(promtool) = crate::telemetry::promtool() else {
        println!("skipped: there is no promtool (cargo xtask setup --all)");
        return Ok(());
    };
    let output = Command::new(promtool).args(arguments).args(files).output()?;
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{out}{err}");
    Ok(())
}

#[test]
fn promtool_takes_the_alerts() -> io::Result<()> {
    promtool(&["check", "rules", "--lint-fatal"], &[&path(RULES)])
}

#[test]
fn alerts_fire_when_they_should_and_only_then() -> io::Result<()> {
    promtool(&["test", "rules"], &[&path(RULES_TEST)])
}

#[test]
fn promtool_takes_the_expressions_of_the_dashboard() -> io::Result<()> {
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path(DASHBOARD))?)?;
    let rules: Vec<Value> = expressions(&dashboard)
        .into_iter()
        .enumerate()
        .map(|(n, expr)| serde_json::json!({"record": format!("panel:{n}"), "expr": expr}))
        .collect();
    assert!(rules.len() > 10);
    // JSON is YAML.
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("dashboard.rules.yml");
    std::fs::write(&file, groups.to_string())?;
    promtool(&["check", "rules"], &[&file])
}
