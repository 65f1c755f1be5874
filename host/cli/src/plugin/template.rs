//! The files of a new plugin, with its names in them.

use std::path::PathBuf;

use clap::ValueEnum;

use super::language::Language;
use super::sources;
use crate::exit::{Exit, Failure};

/// What a new plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A grid of sigmas for sampling.
    Discretization,
    /// The distribution of sigma in training.
    SigmaSampling,
    /// The scale of classifier-free guidance.
    Guidance,
    /// A multiplier of the learning rate.
    LearningRate,
    /// The weight of the loss by sigma.
    Weighting,
    /// A weight of the loss that is learned with the model, native code over the host's operations.
    LearnedWeighting,
    /// A solver.
    Sampler,
    /// Batch entries to conditions, native code over the host's operations.
    Embedder,
}

/// The version of componentize-qjs that a new plugin asks for.
const COMPONENTIZE_QJS: &str = "0.4.5";
/// The version of componentize-py that a new plugin asks for.
const COMPONENTIZE_PY: &str = "0.25.1";

/// What differs between kinds.
struct Template {
    /// The name of its source, and its kind, unless that is another's.
    name: &'static str,
    kind: &'static str,
    schema: &'static str,
    description: &'static str,
    /// Arguments of `anneal plugin call` after the entry, for kinds that it can call.
    call: Option<&'static str>,
    /// The lines of a config that name the entry.
    config: &'static str,
}

/// What the manifest tells `anneal plugin check` about an entry of a kind.
fn promises(kind: Kind) -> &'static str {
    match kind {
        Kind::Discretization => "sigma-range = [\"/sigma_min\", \"/sigma_max\"]\n",
        Kind::LearnedWeighting => {
            "# Others of its kind are WASM.\nruntime = \"native\"\n\n[[entry.example]]\nconfig = { sigma_data = 1.0 }\n"
        }
        Kind::Embedder => {
            "\n# What `check` tries it with.\n[[entry.example]]\nconfig = { n_classes = 10, dim = 8 }\n\
             inputs = [{ name = \"label\", kind = \"i64\", range = [0, 9] }]\n"
        }
        _ => "",
    }
}

macro_rules! template {
    ($kind:literal, $description:literal, $call:expr, $config:literal) => {
        Template {
            name: $kind,
            kind: $kind,
            schema: include_str!(concat!("../../templates/schema/", $kind, ".json")),
            description: $description,
            call: $call,
            config: $config,
        }
    };
}

impl Kind {
    /// Whether it runs as a WASM component.
    pub fn is_wasm(self) -> bool {
        !matches!(self, Self::Embedder | Self::LearnedWeighting)
    }

    fn template(self) -> Template {
        match self {
            Self::Discretization => template!(
                "discretization",
                "A grid of sigmas for sampling",
                Some("sigmas 10 --config rho=5"),
                "[sampling]\nnum_steps = 20\ndiscretization = { plugin = \"{{id}}/{{entry}}\", rho = 5.0 }"
            ),
            Self::SigmaSampling => template!(
                "sigma-sampling",
                "A distribution of sigma in training",
                Some("sample 10 --config p_std=1.6"),
                "[loss]\nsigma_sampling = { plugin = \"{{id}}/{{entry}}\", p_std = 1.6 }"
            ),
            Self::Guidance => template!(
                "guidance",
                "A scale of classifier-free guidance",
                Some("scales 10 1 --frames 8 --config max_scale=3"),
                "[sampling]\nnum_steps = 20\nguidance = { plugin = \"{{id}}/{{entry}}\", max_scale = 3.0 }"
            ),
            Self::LearningRate => template!(
                "learning-rate",
                "A multiplier of the learning rate",
                Some("factors 0 20 --config warm_up_steps=5"),
                "[optimizer]\nschedule = { plugin = \"{{id}}/{{entry}}\", warm_up_steps = 500 }"
            ),
            Self::Weighting => template!(
                "weighting",
                "A weight of the loss by sigma",
                Some("weights 0.1 1 10 --config gamma=3"),
                "[loss]\nweighting = { plugin = \"{{id}}/{{entry}}\", gamma = 3.0 }"
            ),
            Self::LearnedWeighting => Template {
                kind: "weighting",
                ..template!(
                    "learned-weighting",
                    "A weight of the loss by sigma that is learned with the model",
                    None,
                    "[loss]\nweighting = { plugin = \"{{id}}/{{entry}}\", sigma_data = 0.5 }"
                )
            },
            Self::Sampler => template!(
                "sampler",
                "A solver",
                None,
                "[sampling]\nnum_steps = 20\nsampler = { plugin = \"{{id}}/{{entry}}\", eta = 0.5 }"
            ),
            Self::Embedder => template!(
                "embedder",
                "Batch entries to conditions",
                None,
                "[[model.embedders]]\nplugin = \"{{id}}/{{entry}}\"\ninput_key = \"label\"\ndim = 64\nis_trainable = true"
            ),
        }
    }
}

/// The names of a new plugin.
pub struct Names<'a> {
    /// `vendor.name`.
    pub id: &'a str,
    /// The right-hand side of the dependency on the SDK without its braces: `path = ".."` or `version = ".."`.
    pub sdk: &'a str,
}

impl Names<'_> {
    /// The entry's name: the last word of the id.
    pub fn entry(&self) -> &str {
        self.id.rsplit('.').next().unwrap_or(self.id)
    }

    /// The name of the package: the id without its dots.
    pub fn package(&self) -> String {
        self.id.replace('.', "-")
    }
}

/// The files of a plugin of `kind`, by path below its folder.
///
/// # Errors
/// When a plugin of that kind cannot be written in that language.
pub fn files(language: Language, kind: Kind, names: &Names<'_>) -> Result<Vec<(PathBuf, String)>, Failure> {
    let template = kind.template();
    let files = sources::files(language, template.name, kind.is_wasm()).ok_or_else(|| {
        let has = |other: &&Language| sources::files(**other, template.name, kind.is_wasm()).is_some();
        let others = Language::value_variants().iter().filter(has);
        let others: Vec<String> = others.map(|other| format!("--lang {}", other.word())).collect();
        let what = format!("there is no template of the kind `{}` in {language}", template.name);
        Failure::new(Exit::Usage, format!("{what}\nhelp: write it with {}", others.join(" or ")))
    })?;
    let call = template.call.map_or_else(String::new, |call| {
        let call = format!("    anneal plugin call {{{{id}}}}/{{{{entry}}}} {call} --plugin-dir dist");
        format!("One function of it, called as the host does:\n\n{call}\n\n")
    });
    let package = names.package();
    let fill = |text: &str| {
        // These hold further names, so they come first.
        let text = text.replace("{{call}}\n", &call).replace("{{config}}", template.config);
        let text = text
            .replace("{{promises}}", promises(kind))
            .replace("{{building}}", sources::building(language, kind.is_wasm()));
        [
            ("description", template.description),
            ("kind", template.kind),
            ("id", names.id),
            ("entry", names.entry()),
            ("package", &package),
            ("library", &package.replace('-', "_")),
            ("prefix", &names.entry().replace('-', "_")),
            ("sdk", names.sdk),
            ("arch", std::env::consts::ARCH),
            ("componentize_qjs", COMPONENTIZE_QJS),
            ("componentize_py", COMPONENTIZE_PY),
        ]
        .iter()
        .fold(text, |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
    };
    let manifest = match kind.is_wasm() {
        true => include_str!("../../templates/plugin-wasm.toml"),
        false => include_str!("../../templates/plugin-native.toml"),
    };
    let schema = format!("schema/{}.json", names.entry());
    let shared = [
        ("plugin.toml", manifest),
        (schema.as_str(), template.schema),
        ("README.md", include_str!("../../templates/README.md")),
        (".gitignore", include_str!("../../templates/gitignore")),
    ];
    Ok(files.into_iter().chain(shared).map(|(path, text)| (PathBuf::from(path), fill(text))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_filled_in_and_what_has_a_format_keeps_it() {
        let names = Names { id: "acme-labs.fine.my-karras", sdk: "path = \"sdk\"" };
        let mut templates = 0;
        for (language, kind) in Language::value_variants()
            .iter()
            .flat_map(|language| Kind::value_variants().iter().map(move |kind| (*language, *kind)))
        {
            let Ok(files) = files(language, kind, &names) else { continue };
            templates += 1;
            assert!(files.iter().any(|(path, _)| path == &PathBuf::from(language.source())), "{language} {kind:?}");
            for (path, text) in files {
                // Braces of C's initialisers are followed by a dot.
                let is_name = |rest: &str| rest.starts_with(|first: char| first.is_ascii_lowercase());
                assert!(!text.split("{{").skip(1).any(is_name), "{kind:?}, {}: {text}", path.display());
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("toml") => drop(text.parse::<toml::Table>().unwrap()),
                    Some("json") => drop(serde_json::from_str::<serde_json::Value>(&text).unwrap()),
                    _ => {}
                }
            }
        }
        assert_eq!(templates, 8 + 7 + 5 + 6);
    }

    #[test]
    fn names_are_those_of_the_plugin() {
        let names = Names { id: "acme-labs.fine.karras", sdk: "path = \"sdk\"" };
        let files = files(Language::Rust, Kind::Weighting, &names).unwrap();
        let text = |name: &str| &files.iter().find(|(path, _)| path == &PathBuf::from(name)).unwrap().1;
        assert!(text("plugin.toml").contains("path = \"acme_labs_fine_karras.wasm\""));
        assert!(text("src/lib.rs").contains("weighting \"karras\" => Settings"));
        assert!(text("README.md").contains("call acme-labs.fine.karras/karras weights"));
    }

    #[test]
    fn a_kind_without_a_template_names_the_languages_that_have_one() {
        let names = Names { id: "acme.solver", sdk: "" };
        let refused = |language, kind| files(language, kind, &names).err().unwrap().message;
        assert!(refused(Language::Js, Kind::Sampler).ends_with("help: write it with --lang rust or --lang python"));
        assert!(refused(Language::Js, Kind::Embedder).ends_with("help: write it with --lang rust or --lang c"));
    }
}
