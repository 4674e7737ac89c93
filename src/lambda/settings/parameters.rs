//! Parameters of AWS Systems Manager.

use super::SettingsError;
use aws_config::{BehaviorVersion, timeout::TimeoutConfig};
use aws_sdk_ssm::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata},
    types::Parameter,
};
use secrecy::SecretString;
use std::time::Duration;

/// How long reading them may take, with its retries.
const WITHIN: Duration = Duration::from_secs(8);

/// The values of these parameters, in their order, in one request.
pub(super) async fn parameters(names: Vec<String>) -> Result<Vec<SecretString>, SettingsError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let timeouts = TimeoutConfig::builder().operation_timeout(WITHIN).build();
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts);
    let client = Client::new(&config.load().await);
    let asked = client
        .get_parameters()
        .set_names(Some(names.clone()))
        .with_decryption(true);
    let failed = |what: String| SettingsError::Parameter {
        parameter: names.join(", "),
        what,
    };
    let found = asked.send().await.map_err(|error| {
        let said = error
            .as_service_error()
            .and_then(ProvideErrorMetadata::code);
        failed(match said {
            Some(code) => code.to_owned(),
            None => DisplayErrorContext(error).to_string(),
        })
    })?;
    let value = |name: &String| {
        let parameter = found.parameters().iter().find(|it| is_called(it, name));
        let value = parameter.and_then(Parameter::value).map(SecretString::from);
        value.ok_or_else(|| SettingsError::Parameter {
            parameter: name.clone(),
            what: "there is none".to_owned(),
        })
    };
    names.iter().map(value).collect()
}

/// Whether that is the name or the ARN by which it was asked for, with the version or label behind it.
fn is_called(parameter: &Parameter, asked: &str) -> bool {
    let selector = parameter.selector().unwrap_or_default();
    let bare = asked.strip_suffix(selector).unwrap_or(asked);
    [parameter.name(), parameter.arn()].contains(&Some(bare))
}
