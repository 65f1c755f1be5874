//! Settings of an autoencoder's training that do not fit each other.

use super::source::{channels, sides};
use super::{Finding, finding, first_stage, patterns};
use crate::config::suggest::did_you_mean;
use crate::config::{AutoencoderLossConfig, AutoencoderSection, SourceConfig};

/// The autoencoder can be built, and is one.
pub(super) fn network(trained: &AutoencoderSection, channels: u32, found: &mut Vec<Finding>) {
    if trained.network.autoencoder().is_none() {
        let help = "name one, as kind = \"autoencoder-kl\"";
        found.push(finding("/autoencoder/network/kind", "the identity has nothing to train", help));
    }
    first_stage("/autoencoder/network", &trained.network, channels, found);
    patterns("/autoencoder/trainable", trained.trainable.as_deref(), found);
}

/// The weights are of terms that the regularizer has.
pub(super) fn terms(trained: &AutoencoderSection, loss: &AutoencoderLossConfig, found: &mut Vec<Finding>) {
    let Some(autoencoder) = trained.network.autoencoder() else { return };
    let known = autoencoder.regularization_terms();
    for name in loss.regularization_weights.keys().filter(|name| !known.contains(name)) {
        let help = match known.is_empty() {
            true => "take it out; this regularizer has no terms".to_owned(),
            false => did_you_mean(name, known.iter().map(String::as_str)),
        };
        let pointer = format!("/loss/regularization_weights/{}", name.replace('~', "~0").replace('/', "~1"));
        found.push(finding(pointer, "the regularizer has no such term", help));
    }
}

/// The images can be halved as often as the autoencoder does.
pub(super) fn pixels(at: &str, source: &SourceConfig, trained: &AutoencoderSection, found: &mut Vec<Finding>) {
    let Some(autoencoder) = trained.network.autoencoder() else { return };
    let divisor = autoencoder.downsampling();
    for side in sides(source).into_iter().map(i64::from).filter(|side| side % divisor != 0) {
        let message =
            format!("the autoencoder halves an image until {divisor} pixels are one, and {side} is no multiple");
        let help = format!("use {}, or take a level out of `ch_mult`", (side / divisor + 1) * divisor);
        found.push(finding(format!("{at}/size"), message, help));
    }
}

/// The adversary can be built, and images are large enough for it.
pub(super) fn adversary(source: &SourceConfig, loss: &AutoencoderLossConfig, found: &mut Vec<Finding>) {
    let Some(network) = loss.discriminator.as_ref().map(|adversary| &adversary.network) else { return };
    let smallest = sides(source).into_iter().min().map(i64::from);
    for problem in network.check() {
        found.push(finding(format!("/loss/discriminator/network/{}", problem.key), problem.message, problem.help));
    }
    let channels = channels(source);
    if network.input_nc != channels {
        let message = format!("is {}, but images have {channels} channels", network.input_nc);
        found.push(finding("/loss/discriminator/network/input_nc", message, format!("write {channels}")));
    }
    if let Some(smallest) = smallest.filter(|side| *side < network.smallest_picture()) {
        let message = format!("nothing is left of images of {smallest} pixels after so many halvings");
        let help = format!("use fewer layers, or images of at least {} pixels", network.smallest_picture());
        found.push(finding("/loss/discriminator/network/n_layers", message, help));
    }
}
