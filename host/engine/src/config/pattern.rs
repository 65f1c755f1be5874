//! Patterns over the paths of parameters.

use std::collections::BTreeSet;

use regex::Regex;

use super::suggest::closest;

/// Whether a pattern takes in the parameter at `path`: a glob in which `*` stands for anything, or a set by name:
/// `temporal` are the layers over frames, with the factors that mix them in; `spatial` are all others.
#[derive(Debug, Clone)]
pub struct PathPattern(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Temporal,
    Spatial,
    Glob(Regex),
}

impl PathPattern {
    /// The pattern that `text` writes; none for an empty one.
    pub fn new(text: &str) -> Option<Self> {
        Some(Self(match text {
            "" => return None,
            "temporal" => Kind::Temporal,
            "spatial" => Kind::Spatial,
            glob => {
                let parts: Vec<String> = glob.split('*').map(regex::escape).collect();
                Kind::Glob(Regex::new(&format!("^{}$", parts.join(".*"))).ok()?)
            }
        }))
    }

    /// Whether it takes in the parameter at `path`.
    pub fn matches(&self, path: &str) -> bool {
        match &self.0 {
            Kind::Temporal => is_temporal(path),
            Kind::Spatial => !is_temporal(path),
            Kind::Glob(glob) => glob.is_match(path),
        }
    }
}

/// The layers over frames are called `time_..`; the `time_embed` that stands first is of the noise level.
fn is_temporal(path: &str) -> bool {
    path.split('.').skip(1).any(|segment| segment.starts_with("time_") || segment == "mix_factor")
}

/// Whether `patterns` choose the parameter at `path`; no patterns choose all.
pub fn chooses(patterns: Option<&[String]>, path: &str) -> bool {
    patterns.is_none_or(|some| some.iter().filter_map(|text| PathPattern::new(text)).any(|one| one.matches(path)))
}

/// What a pattern that matches none of `paths` may have meant: a part of it that no path has, and the nearest that one has.
pub fn near_segment(pattern: &str, paths: &[String]) -> Option<(String, String)> {
    let known: BTreeSet<&str> = paths.iter().flat_map(|path| path.split('.')).collect();
    let unknown = pattern.split(['.', '*']).filter(|part| !part.is_empty() && !known.contains(part));
    let named = known.iter().copied().chain(["temporal", "spatial"]);
    unknown.filter_map(|part| Some((part.to_owned(), closest(part, named.clone())?.to_owned()))).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_of_whole_paths() {
        let takes = |text: &str, path: &str| PathPattern::new(text).unwrap().matches(path);
        assert!(takes("decoder.*", "decoder.up.0.weight") && !takes("decoder.*", "x.decoder.up"));
        assert!(takes("*.attn?.*", "a.attn?.b") && !takes("*.attn?.*", "a.attn1.b"));
        assert!(takes("out.2.bias", "out.2.bias") && !takes("out.2.bias", "out.2xbias") && !takes("out", "out.2"));
        assert!(PathPattern::new("").is_none());
    }

    #[test]
    fn layers_over_frames_are_told_from_the_noise_level() {
        for (path, temporal) in [
            ("time_embed.0.weight", false),
            ("input_blocks.1.0.time_stack.in_layers.0.weight", true),
            ("input_blocks.1.1.time_pos_embed.0.bias", true),
            ("input_blocks.1.1.time_mixer.mix_factor", true),
            ("decoder.up.0.block.0.mix_factor", true),
            ("input_blocks.1.0.in_layers.0.weight", false),
        ] {
            assert_eq!(PathPattern::new("temporal").unwrap().matches(path), temporal, "{path}");
            assert_eq!(PathPattern::new("spatial").unwrap().matches(path), !temporal, "{path}");
        }
    }

    #[test]
    fn what_matches_nothing_is_near_something() {
        let paths = ["middle_block.1.attn1.to_q.weight".to_owned(), "out.2.bias".to_owned()];
        let near = |pattern: &str| near_segment(pattern, &paths).map(|(_, near)| near);
        assert_eq!(near("*.atn1.*").as_deref(), Some("attn1"));
        assert_eq!(near("midle_block.*").as_deref(), Some("middle_block"));
        assert_eq!(near("temporl").as_deref(), Some("temporal"));
        assert_eq!(near("out.*.weight"), None);
    }

    #[test]
    fn no_patterns_choose_all() {
        assert!(chooses(None, "a") && !chooses(Some(&[]), "a"));
        assert!(chooses(Some(&["b".to_owned(), "a*".to_owned()]), "a.b"));
    }
}
