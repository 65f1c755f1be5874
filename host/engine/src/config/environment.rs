//! The environment variables that the engine heeds; nothing else in it reads the environment.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// What the environment says about where things are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// Plugin directories of `ANNEAL_PLUGIN_PATH`, separated as in `PATH`.
    pub plugin_path: Vec<PathBuf>,
    /// The user's data folder: `XDG_DATA_HOME`, else `HOME/.local/share`; none where neither is set.
    pub data_home: Option<PathBuf>,
    /// The user's settings folder: `XDG_CONFIG_HOME`, else `HOME/.config`; none where neither is set.
    pub config_home: Option<PathBuf>,
    /// The user's folder of what can be made again: `XDG_CACHE_HOME`, else `HOME/.cache`; none where neither is set.
    pub cache_home: Option<PathBuf>,
    /// The folder `plugins` beside that of the running program: `target/plugins` of a checkout.
    pub own_plugins: Option<PathBuf>,
}

impl Environment {
    /// Reads the variables of this process.
    pub fn read() -> Self {
        let program = env::current_exe().ok();
        let own_plugins = program.and_then(|program| Some(program.parent()?.parent()?.join("plugins")));
        Self { own_plugins, ..Self::from_lookup(|name| env::var_os(name)) }
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        // An empty variable counts as unset, and the XDG specification has relative folders ignored.
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let absolute = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let plugin_path = set("ANNEAL_PLUGIN_PATH")
            .map(|path| env::split_paths(&path).filter(|dir| !dir.as_os_str().is_empty()).collect())
            .unwrap_or_default();
        let data_home = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
        let config_home = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
        let cache_home = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Self { plugin_path, data_home, config_home, cache_home, own_plugins: None }
    }

    /// The user's own plugin directory, `anneal/plugins` in the data folder.
    pub fn user_plugins(&self) -> Option<PathBuf> {
        self.data_home.as_ref().map(|data| data.join("anneal/plugins"))
    }

    /// The user's list of trusted native plugins, `anneal/trust.toml` in the settings folder.
    pub fn trust_list(&self) -> Option<PathBuf> {
        self.config_home.as_ref().map(|config| config.join("anneal/trust.toml"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        Environment::from_lookup(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn plugin_path_is_split_and_empty_entries_are_no_folder() {
        let environment = read(&[("ANNEAL_PLUGIN_PATH", "/a:/b c::d")]);
        assert_eq!(environment.plugin_path, ["/a", "/b c", "d"].map(PathBuf::from));
        assert!(read(&[("ANNEAL_PLUGIN_PATH", "")]).plugin_path.is_empty());
    }

    #[test]
    fn data_home_prefers_xdg_and_ignores_it_when_relative() {
        let home = ("HOME", "/home/ada");
        let user_plugins = |xdg: Option<&str>| {
            let mut variables = vec![home];
            variables.extend(xdg.map(|dir| ("XDG_DATA_HOME", dir)));
            read(&variables).user_plugins()
        };
        assert_eq!(user_plugins(Some("/data")), Some("/data/anneal/plugins".into()));
        assert_eq!(user_plugins(Some("data")), Some("/home/ada/.local/share/anneal/plugins".into()));
        assert_eq!(user_plugins(None), Some("/home/ada/.local/share/anneal/plugins".into()));
        assert_eq!(read(&[]).user_plugins(), None);
        assert_eq!(read(&[home]).trust_list(), Some("/home/ada/.config/anneal/trust.toml".into()));
        assert_eq!(read(&[home, ("XDG_CONFIG_HOME", "/c")]).trust_list(), Some("/c/anneal/trust.toml".into()));
    }
}
