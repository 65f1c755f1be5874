//! What a network is asked.

use tch::Tensor;

/// The arguments of a network's forward pass.
#[derive(Debug, Clone, Copy)]
pub struct NetworkInput<'a> {
    /// Scaled noised latents, conditions concatenated on channels: `[n, c, h, w]`.
    pub x: &'a Tensor,
    /// The noise level as the network sees it: `[n]` f32.
    pub c_noise: &'a Tensor,
    /// Context of cross-attention: `[n, s, d]`.
    pub context: Option<&'a Tensor>,
    /// Vector condition `[n, d]`, or class indices `[n]`.
    pub y: Option<&'a Tensor>,
    /// Context of temporal cross-attention, if not taken from `context`.
    pub time_context: Option<&'a Tensor>,
    /// Frames of a scene, `t`; rows of `x` are ordered `(b t)`.
    pub num_video_frames: Option<i64>,
    /// `[b, t]`, 1 where a frame is an image of its own.
    pub image_only_indicator: Option<&'a Tensor>,
    /// Reference views (SV4D): `[b*v, c, h, w]`.
    pub cond_view: Option<&'a Tensor>,
    /// The input view's frames (SV4D): `[b*t, c, h, w]`.
    pub cond_motion: Option<&'a Tensor>,
    /// Whether dropout is on.
    pub train: bool,
}

/// A network F.
pub trait Network: Send {
    /// `F(x, c_noise, conditions)`: `[n, c_out, h, w]`.
    fn forward(&self, input: &NetworkInput<'_>) -> Tensor;
}
