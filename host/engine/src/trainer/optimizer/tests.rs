//! Each kind beside its equations in f64, with groups and with moments of fewer bits, and its state through a restart.

use super::*;

const ADAM: AdamSettings = AdamSettings { betas: [0.9, 0.99], eps: 1e-8, weight_decay: 0.1, amsgrad: false };
const SGD: SgdSettings = SgdSettings { momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false };
const RATE: f64 = 0.01;

/// Every kind with every option.
fn all() -> Vec<OptimizerSettings> {
    let amsgrad = AdamSettings { amsgrad: true, ..ADAM };
    let sgd = [
        SGD,
        SgdSettings { weight_decay: 0.1, ..SGD },
        SgdSettings { momentum: 0.9, weight_decay: 0.1, ..SGD },
        SgdSettings { momentum: 0.9, dampening: 0.5, ..SGD },
        SgdSettings { momentum: 0.9, weight_decay: 0.1, nesterov: true, ..SGD },
    ];
    let adam = [ADAM, amsgrad].into_iter().flat_map(|s| [OptimizerSettings::AdamW(s), OptimizerSettings::Adam(s)]);
    adam.chain(sgd.map(OptimizerSettings::Sgd)).collect()
}

fn optimizer(settings: OptimizerSettings) -> (Tensor, Tensor, Optimizer) {
    let leaf = |values: &[f32]| Tensor::from_slice(values).set_requires_grad(true);
    let (a, b) = (leaf(&[1.0, -2.0]), leaf(&[0.5]));
    let named = vec![("a".to_owned(), a.shallow_clone()), ("b".to_owned(), b.shallow_clone())];
    (a, b, Optimizer::new(named, settings))
}

fn one_step(optimizer: &mut Optimizer, loss: &dyn Fn() -> Tensor) {
    optimizer.zero_grad();
    loss().backward();
    optimizer.collect_grads();
    optimizer.step(RATE, 1.0).unwrap();
}

/// A gradient that grows and falls again, so that the largest second moment is not the last one.
fn grad(x: f64) -> f64 {
    (9.0 * x).sin()
}

fn loss(x: &Tensor) -> Tensor {
    (x * 9.0).cos().sum(Kind::Float) / -9.0
}

/// The equations of the paper or of torch's documentation, for one number.
fn by_hand(settings: OptimizerSettings, x: f64, steps: i32) -> f64 {
    by_hand_at(RATE, settings, x, steps)
}

fn by_hand_at(rate: f64, settings: OptimizerSettings, mut x: f64, steps: i32) -> f64 {
    let (mut m, mut v, mut largest) = (0.0, 0.0, 0.0_f64);
    for t in 1..=steps {
        let mut g = grad(x);
        match settings {
            OptimizerSettings::AdamW(s) | OptimizerSettings::Adam(s) => {
                match settings {
                    OptimizerSettings::AdamW(_) => x *= 1.0 - rate * s.weight_decay,
                    _ => g += s.weight_decay * x,
                }
                m = s.betas[0] * m + (1.0 - s.betas[0]) * g;
                v = s.betas[1] * v + (1.0 - s.betas[1]) * g * g;
                largest = largest.max(v);
                let v = if s.amsgrad { largest } else { v };
                let [m, v] = [m / (1.0 - s.betas[0].powi(t)), v / (1.0 - s.betas[1].powi(t))];
                x -= rate * m / (v.sqrt() + s.eps);
            }
            OptimizerSettings::Sgd(s) => {
                g += s.weight_decay * x;
                m = if t == 1 { g } else { s.momentum * m + (1.0 - s.dampening) * g };
                x -= rate
                    * if s.nesterov {
                        g + s.momentum * m
                    } else if s.momentum == 0.0 {
                        g
                    } else {
                        m
                    };
            }
        }
    }
    x
}

#[test]
fn steps_follow_the_equations_and_unreached_parameters_stay() {
    for settings in all() {
        let (a, b, mut optimizer) = optimizer(settings);
        let close = |x: &Tensor, start: f64, steps: i32| {
            let (got, want) = (x.double_value(&[0]), by_hand(settings, start, steps));
            assert!((got - want).abs() < 1e-5, "{settings:?} after {steps}: {got} {want}");
        };
        for _ in 0..25 {
            one_step(&mut optimizer, &|| loss(&a));
        }
        close(&a, 1.0, 25);
        assert_eq!(b.double_value(&[0]), 0.5, "{settings:?}");
        // A late first gradient starts its own count.
        for _ in 0..5 {
            one_step(&mut optimizer, &|| loss(&a) + loss(&b));
        }
        close(&a, 1.0, 30);
        close(&b, 0.5, 5);
    }
}

#[test]
fn no_two_kinds_or_options_are_one() {
    let ends: Vec<f64> = all().into_iter().map(|settings| by_hand(settings, 1.0, 30)).collect();
    for (i, a) in ends.iter().enumerate() {
        assert!(ends[..i].iter().all(|b| (a - b).abs() > 1e-4), "{ends:?}");
    }
}

#[test]
fn a_restored_optimizer_goes_on_bit_for_bit() {
    for settings in all() {
        let (a, b, mut whole) = optimizer(settings);
        for _ in 0..3 {
            one_step(&mut whole, &|| loss(&a));
        }
        let state: Vec<Named> = whole.state().iter().map(|(name, t)| (name.clone(), t.copy())).collect();
        let weights = a.detach().copy();
        let (a2, b2, mut other) = optimizer(settings);
        {
            let _no_grad = grad_mode::no_grad();
            a2.shallow_clone().copy_(&weights);
        }
        other.load_state(&state).unwrap();
        for (optimizer, a, b) in [(&mut whole, &a, &b), (&mut other, &a2, &b2)] {
            for _ in 0..2 {
                one_step(optimizer, &|| loss(a));
            }
            one_step(optimizer, &|| loss(a) + loss(b));
        }
        assert!(a.equal(&a2) && b.equal(&b2), "{settings:?}");
        assert!(other.load_state(&state[1..]).unwrap_err().contains("missing"), "{settings:?}");
    }
}

#[test]
fn the_state_of_another_kind_is_refused() {
    let state_of = |settings| optimizer(settings).2.state();
    let momentum = OptimizerSettings::Sgd(SgdSettings { momentum: 0.9, ..SGD });
    let (_, _, mut adam) = optimizer(OptimizerSettings::Adam(ADAM));
    let error = adam.load_state(&state_of(momentum)).unwrap_err();
    assert_eq!(error, "optimizer state: `exp_avg.a` is missing");
    let error = adam.load_state(&state_of(OptimizerSettings::Adam(AdamSettings { amsgrad: true, ..ADAM })));
    assert_eq!(error.unwrap_err(), "optimizer state: `max_exp_avg_sq.a` is not part of this run");
}

#[test]
fn clipping_scales_the_whole_gradient_to_the_norm() {
    assert_eq!((clip_factor(3.0, None), clip_factor(0.5, Some(1.0))), (1.0, 1.0));
    // With one step and an eps that dwarfs the gradient, Adam moves a parameter by the gradient itself.
    let huge_eps = AdamSettings { betas: [0.0, 0.0], eps: 1e6, weight_decay: 0.0, amsgrad: false };
    let kinds = [
        (OptimizerSettings::AdamW(huge_eps), 1e6),
        (OptimizerSettings::Adam(huge_eps), 1e6),
        (OptimizerSettings::Sgd(SGD), 1.0),
        (OptimizerSettings::Sgd(SgdSettings { momentum: 0.9, ..SGD }), 1.0),
    ];
    for (settings, rate) in kinds {
        let (a, b, mut optimizer) = optimizer(settings);
        let before = [a.double_value(&[1]), b.double_value(&[0])];
        optimizer.zero_grad();
        ((&a * 3.0).sum(Kind::Float) + (&b * 4.0).sum(Kind::Float)).backward();
        optimizer.collect_grads();
        let norm = optimizer.grad_norm();
        assert!((norm - 34_f64.sqrt()).abs() < 1e-5);
        optimizer.step(rate, clip_factor(norm, Some(1.0))).unwrap();
        let moved = [before[0] - a.double_value(&[1]), before[1] - b.double_value(&[0])];
        assert!((moved[0] - 3.0 / norm).abs() < 1e-4 && (moved[1] - 4.0 / norm).abs() < 1e-4, "{settings:?} {moved:?}");
    }
}

/// As [`by_hand`], at another learning rate and weight decay.
fn by_hand_in_group(settings: OptimizerSettings, x: f64, steps: i32, factor: f64, weight_decay: f64) -> f64 {
    let settings = match settings {
        OptimizerSettings::AdamW(s) => OptimizerSettings::AdamW(AdamSettings { weight_decay, ..s }),
        OptimizerSettings::Adam(s) => OptimizerSettings::Adam(AdamSettings { weight_decay, ..s }),
        OptimizerSettings::Sgd(s) => OptimizerSettings::Sgd(SgdSettings { weight_decay, ..s }),
    };
    by_hand_at(RATE * factor, settings, x, steps)
}

fn leaves(starts: &[f32]) -> (Vec<Tensor>, Vec<Named>) {
    let leaves: Vec<Tensor> = starts.iter().map(|&x| Tensor::from_slice(&[x]).set_requires_grad(true)).collect();
    let named = leaves.iter().enumerate().map(|(i, leaf)| (format!("p{i}"), leaf.shallow_clone())).collect();
    (leaves, named)
}

fn total(leaves: &[Tensor]) -> Tensor {
    leaves.iter().map(loss).reduce(|a, b| a + b).unwrap()
}

/// Groups lie apart in memory, however parameters of one and the other take turns.
#[test]
fn groups_have_rates_and_decays_of_their_own() {
    let group = |learning_rate_factor, weight_decay| GroupRates { learning_rate_factor, weight_decay };
    for settings in all() {
        let (leaves, named) = leaves(&[1.0, 0.5, -0.7, 0.3, 0.9]);
        let rates = vec![group(0.25, None), group(1.0, Some(0.0)), group(0.0, None)];
        let of = vec![Some(0), None, Some(1), Some(0), Some(2)];
        let groups = Groups { rates, of, num_first: 4 };
        let mut optimizer = Optimizer::with_groups(named, settings, Moments::F32, groups);
        for _ in 0..20 {
            one_step(&mut optimizer, &|| total(&leaves));
        }
        assert_eq!(optimizer.runs().len(), 4, "one operation for each group");
        let decay = settings.weight_decay();
        let want = [(1.0, 0.25, decay), (0.5, 1.0, decay), (-0.7, 1.0, 0.0), (0.3, 0.25, decay), (0.9, 0.0, decay)];
        for (leaf, (start, factor, decay)) in leaves.iter().zip(want) {
            let want = by_hand_in_group(settings, start, 20, factor, decay);
            let got = leaf.double_value(&[0]);
            assert!((got - want).abs() < 2e-5, "{settings:?}: {start} became {got}, not {want}");
        }
    }
}

#[test]
fn moments_of_few_bits_go_where_those_of_many_go() {
    // A bowl with a noisy slope: what stays of 2000 numbers after 300 steps. Rates fall, so that noise dies out.
    let end = |settings: OptimizerSettings, moments: Moments| {
        let start = anneal_torch::random::Stream::new(1, "start", 0, 0).normal_tensor(&[2000]);
        let x = start.copy().set_requires_grad(true);
        let curvature = Tensor::linspace(0.5, 4.0, 2000, (Kind::Float, tch::Device::Cpu));
        let named = vec![("x".to_owned(), x.shallow_clone())];
        let mut optimizer = Optimizer::with_groups(named, settings, moments, Groups::default());
        for step in 0..300_u64 {
            optimizer.zero_grad();
            let noise = anneal_torch::random::Stream::new(2, "noise", 0, step).normal_tensor(&[2000]) * 0.3;
            ((&x + noise).square() * &curvature).sum(Kind::Float).backward();
            optimizer.collect_grads();
            optimizer.step(0.02 * (1.0 - step as f64 / 300.0), 1.0).unwrap();
        }
        let rms = |t: &Tensor| t.square().mean(Kind::Double).sqrt().double_value(&[]);
        (rms(&x), rms(&start))
    };
    for settings in [
        OptimizerSettings::AdamW(AdamSettings { betas: [0.9, 0.999], weight_decay: 0.0, ..ADAM }),
        OptimizerSettings::Adam(AdamSettings { betas: [0.9, 0.999], weight_decay: 0.0, amsgrad: true, ..ADAM }),
        OptimizerSettings::Sgd(SgdSettings { momentum: 0.9, ..SGD }),
    ] {
        let (full, start) = end(settings, Moments::F32);
        assert!(full < 0.15 * start, "{settings:?}: {full} of {start}");
        for moments in [Moments::Bf16, Moments::Int8] {
            let (few, _) = end(settings, moments);
            assert!((few - full).abs() < 0.15 * full, "{settings:?} {moments:?}: {few} instead of {full}");
        }
    }
}

/// Blocks of 8 bits, parameters that do not fill them, one without a gradient, groups: all of it through a restart.
#[test]
fn few_bits_take_little_memory_and_go_on_bit_for_bit() {
    for settings in all().into_iter().filter(|settings| *settings != OptimizerSettings::Sgd(SGD)) {
        for moments in [Moments::F32, Moments::Bf16, Moments::Int8] {
            let make = || {
                let leaf = |len: usize, x: f32| Tensor::from_slice(&vec![x; len]).set_requires_grad(true);
                let leaves = vec![leaf(300, 1.0), leaf(7, 0.5), leaf(512, -0.7), leaf(3, 0.2)];
                let named = leaves.iter().enumerate().map(|(i, leaf)| (format!("p{i}"), leaf.shallow_clone()));
                let rates = vec![GroupRates { learning_rate_factor: 0.5, weight_decay: None }];
                let groups = Groups { rates, of: vec![None, Some(0), None, None], num_first: 3 };
                let optimizer = Optimizer::with_groups(named.collect(), settings, moments, groups);
                (leaves, optimizer)
            };
            let go = |leaves: &[Tensor], optimizer: &mut Optimizer, steps: usize| {
                for _ in 0..steps {
                    let grads = leaves[..3].iter().enumerate().map(|(i, leaf)| {
                        let uneven =
                            Tensor::arange(leaf.numel() as i64, (Kind::Float, tch::Device::Cpu)) * 0.01 + i as f64;
                        loss(&(leaf * uneven.sin()))
                    });
                    let loss = grads.reduce(|a, b| a + b).unwrap();
                    one_step(optimizer, &|| loss.shallow_clone());
                }
            };
            let (whole, mut unbroken) = make();
            go(&whole, &mut unbroken, 3);
            let saved: Vec<Named> = unbroken.state().iter().map(|(name, t)| (name.clone(), t.copy())).collect();
            let bytes: usize = saved
                .iter()
                .filter(|(name, _)| name != "steps")
                .map(|(_, t)| t.numel() * t.kind().elt_size_in_bytes())
                .sum();
            let one: u64 = [300, 7, 512, 3].map(|len| moments.bytes(len)).iter().sum();
            assert_eq!(bytes as u64, one * unbroken.rule.moments().len() as u64);
            let (resumed, mut other) = make();
            {
                let _no_grad = grad_mode::no_grad();
                resumed.iter().zip(&whole).for_each(|(to, from)| to.shallow_clone().copy_(from));
            }
            other.load_state(&saved).unwrap();
            go(&whole, &mut unbroken, 3);
            go(&resumed, &mut other, 3);
            for (a, b) in whole.iter().zip(&resumed) {
                assert!(a.equal(b), "{settings:?} {moments:?}");
            }
            for ((name, a), (_, b)) in unbroken.state().iter().zip(other.state()) {
                assert!(a.equal(&b), "{settings:?} {moments:?} {name}");
            }
            assert_eq!(whole[3].double_value(&[0]), f64::from(0.2_f32));
        }
    }
}
