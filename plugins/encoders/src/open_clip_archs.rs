//! The open_clip models that published video models are conditioned by.

use crate::layers::Activation;
use crate::named::named;
use crate::open_clip_text_tower::Text;
use crate::open_clip_vision::Vision;

named! {
    /// A model by open_clip's name.
    pub enum Arch {
        /// The large one, as open_clip trains it.
        VitL14 = "ViT-L-14",
        /// OpenAI's own, whose activation is another.
        VitL14QuickGelu = "ViT-L-14-quickgelu",
        /// SD 2's, SVD's and SV3D's.
        VitH14 = "ViT-H-14",
        /// SDXL's second.
        VitBigG14 = "ViT-bigG-14",
    }
}

impl Arch {
    /// Its vision tower.
    pub fn vision(self) -> Vision {
        let (embed_dim, width, layers, head_width, mlp_ratio) = match self {
            Self::VitL14 | Self::VitL14QuickGelu => (768, 1024, 24, 64, 4.0),
            Self::VitH14 => (1024, 1280, 32, 80, 4.0),
            Self::VitBigG14 => (1280, 1664, 48, 104, 4.9231),
        };
        let act = self.act();
        Vision { embed_dim, width, layers, head_width, mlp_ratio, patch_size: 14, act, layer_scale: false }
    }

    /// Its text tower.
    pub fn text(self) -> Text {
        let (embed_dim, width, layers, heads) = match self {
            Self::VitL14 | Self::VitL14QuickGelu => (768, 768, 12, 12),
            Self::VitH14 => (1024, 1024, 24, 16),
            Self::VitBigG14 => (1280, 1280, 32, 20),
        };
        let (context_length, vocab_size, mlp_ratio, act) = (77, 49408, 4.0, self.act());
        Text { embed_dim, width, layers, heads, mlp_ratio, context_length, vocab_size, act, layer_scale: false }
    }

    fn act(self) -> Activation {
        if self == Self::VitL14QuickGelu { Activation::QuickGelu } else { Activation::Gelu }
    }
}
