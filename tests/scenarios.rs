//! Every scenario in tests/scenarios gets the verdicts it demands, and nobody is killed.

use scale_in_guard::replay::Scenario;
use std::{error::Error, fs, path::Path};

#[test]
fn every_scenario_gets_the_verdicts_it_demands() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut faults = Vec::new();
    let mut played = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let scenario: Scenario = serde_json::from_str(&fs::read_to_string(&path)?)
            .map_err(|error| format!("{name}: {error}"))?;
        assert_eq!(scenario.name, name, "a file is called after its scenario");
        played += 1;
        for ask in scenario.play()?.asks {
            if ask.is_unmet() || ask.is_kill() {
                let expected = ask.expect;
                faults.push(format!(
                    "{name}: expected {expected:?}\n{}",
                    ask.decision.explain()
                ));
            }
        }
    }
    assert!(played >= 27, "only {played} scenarios were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}
