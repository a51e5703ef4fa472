//! The settings file as a ConfigMap. It is mounted as a folder, so that a change reaches running members, and nothing of it is in the
//! pod template, so that a change restarts nobody.

use holdfast_api::names::{SETTINGS_FILE, settings_config_map};
use k8s_openapi::api::core::v1::ConfigMap;

use super::metadata::metadata;
use crate::validate::Valid;

pub(super) fn build(valid: &Valid) -> ConfigMap {
    ConfigMap {
        metadata: metadata(valid, settings_config_map(&valid.name)),
        data: Some([(SETTINGS_FILE.to_owned(), valid.settings.to_yaml())].into()),
        ..ConfigMap::default()
    }
}
