//! Patterns over the paths of parameters.

use regex::Regex;

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
    fn no_patterns_choose_all() {
        assert!(chooses(None, "a") && !chooses(Some(&[]), "a"));
        assert!(chooses(Some(&["b".to_owned(), "a*".to_owned()]), "a.b"));
    }
}
