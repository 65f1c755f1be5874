//! What a network is asked.

use tch::Tensor;

/// The arguments of a network's forward pass.
#[derive(Debug, Clone, Copy)]
pub struct NetworkInput<'a> {
    /// Scaled noised latents, conditions concatenated on channels: `[n, c, h, w]`.
    pub x: &'a Tensor,
    /// The noise level as the network sees it: `[n]` f32.
    pub c_noise: &'a Tensor,
    /// Context of cross-attention: `[n, s, d]`, or `[b, t, d]` if it is per scene.
    pub context: Option<&'a Tensor>,
    /// Vector condition `[n, d]`, or class indices `[n]`.
    pub y: Option<&'a Tensor>,
    /// Context of temporal cross-attention, if not taken from `context`.
    pub time_context: Option<&'a Tensor>,
    /// Rows of a scene: `t`, or `t*v` where there are views. Those of `x` are ordered `(b t)` or `(b t v)`.
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

    /// Whether `context` has a row for each scene and a token for each of its times, instead of a row for each of `x`.
    fn context_is_per_scene(&self) -> bool {
        false
    }
}
