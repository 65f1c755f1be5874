//! Solvers that solve nothing.

use plugin_api::wasm::prelude::*;

/// A step of Euler's method from sigma `a` to sigma `b`.
fn euler(x: &mut Latent, a: f64, b: f64) -> Result<()> {
    let denoised = x.denoise(a)?;
    let h = (b - a) / a;
    x.update(1.0 + h, &[(-h, &denoised)])
}

macro_rules! solvers {
    ($($(#[$about:meta])* $name:ident ($calls:expr, $latents:expr, |$x:ident, $sigmas:ident, $run:ident| $body:expr);)+) => {$(
        $(#[$about])*
        #[derive(Config)]
        pub struct $name {}

        impl Sampler for $name {
            fn estimate(&self, num_steps: u32) -> Cost {
                let calls: fn(u32) -> u32 = $calls;
                Cost { denoise_calls: calls(num_steps), live_latents: $latents, draws_noise: false }
            }

            fn sample(&self, mut $x: Latent, $sigmas: &[f64], $run: &Run) -> Result<Latent> {
                $body
            }
        }
    )+};
}

/// Euler's method with ancestral noise, of which it adds half.
#[derive(Config)]
pub struct HalvesTheNoise {}

impl Sampler for HalvesTheNoise {
    fn estimate(&self, num_steps: u32) -> Cost {
        Cost { denoise_calls: num_steps, live_latents: 2, draws_noise: true }
    }

    fn sample(&self, mut x: Latent, sigmas: &[f64], run: &Run) -> Result<Latent> {
        for i in 0..sigmas.len() - 1 {
            let (sigma2, next2) = (sigmas[i].powi(2), sigmas[i + 1].powi(2));
            let up2 = next2 * (sigma2 - next2) / sigma2;
            euler(&mut x, sigmas[i], (next2 - up2).sqrt())?;
            let noise = run.gaussian()?;
            if next2 > 0.0 {
                x.update(1.0, &[(0.5 * up2.sqrt(), &noise)])?;
            }
            run.progress(i, sigmas)?;
        }
        Ok(x)
    }
}

/// Euler's method, with something done after each step.
fn walk(
    x: &mut Latent,
    sigmas: &[f64],
    run: &Run,
    mut after: impl FnMut(&mut Latent, usize) -> Result<()>,
) -> Result<()> {
    for i in 0..sigmas.len() - 1 {
        euler(x, sigmas[i], sigmas[i + 1])?;
        after(x, i)?;
        run.progress(i, sigmas)?;
    }
    Ok(())
}

solvers! {
    /// Breaks nothing.
    GoodSolver (|n| n, 2, |x, sigmas, run| { walk(&mut x, sigmas, run, |_, _| Ok(()))?; Ok(x) });
    /// Asks the model, and does nothing with its answer but to shrink the noise.
    HandsBackNoise (|n| n, 2, |x, sigmas, run| {
        for i in 0..sigmas.len() - 1 {
            drop(x.denoise(sigmas[i])?);
            run.progress(i, sigmas)?;
        }
        x.update(1.0 / (1.0 + sigmas[0]), &[])?;
        Ok(x)
    });
    /// Leaves out the second half of the steps.
    StopsHalfWay (|n| n, 2, |x, sigmas, run| {
        for i in 0..sigmas.len().div_ceil(2) - usize::from(sigmas.len() > 3) {
            euler(&mut x, sigmas[i], sigmas[i + 1])?;
            run.progress(i, sigmas)?;
        }
        Ok(x)
    });
    /// Of first order, where its manifest says third.
    ClaimsTooMuch (|n| n, 2, |x, sigmas, run| { walk(&mut x, sigmas, run, |_, _| Ok(()))?; Ok(x) });
    /// Shrinks what it finds large.
    Bends (|n| n, 2, |x, sigmas, run| {
        let size = x.rms()?;
        x.update(1.0 / (1.0 + 1e-5 * size), &[])?;
        walk(&mut x, sigmas, run, |_, _| Ok(()))?;
        Ok(x)
    });
    /// Asks the model where there is no noise.
    AsksAtZero (|n| n + 1, 2, |x, sigmas, run| {
        walk(&mut x, sigmas, run, |_, _| Ok(()))?;
        x.denoise(0.0)
    });
    /// Asks the model more often than it says.
    AsksTooOften (|n| n - 1, 2, |x, sigmas, run| { walk(&mut x, sigmas, run, |_, _| Ok(()))?; Ok(x) });
    /// Keeps every latent.
    KeepsLatents (|n| n, 2, |x, sigmas, run| {
        let mut kept = Vec::new();
        walk(&mut x, sigmas, run, |x, _| { kept.push(x.fork()?); Ok(()) })?;
        Ok(x)
    });
    /// Never ends.
    AsksForEver (|n| n, 2, |x, sigmas, _run| loop { x.update(1.0, &[])?; drop(x.denoise(sigmas[0])?); });
    /// Takes an error of the model for an answer.
    SwallowsErrors (|n| n, 2, |x, sigmas, run| {
        for i in 0..sigmas.len() - 1 {
            let _ = euler(&mut x, sigmas[i], sigmas[i + 1]);
            run.progress(i, sigmas)?;
        }
        Ok(x)
    });
    /// Says nothing of how far it is.
    TellsNothing (|n| n, 2, |x, sigmas, _run| {
        for i in 0..sigmas.len() - 1 {
            euler(&mut x, sigmas[i], sigmas[i + 1])?;
        }
        Ok(x)
    });
}
