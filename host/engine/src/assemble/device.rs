//! The device a run computes on.

use tch::Device;

use super::AssembleError;
use crate::config::RunSection;

/// The device that `run.device` names; `auto` is the first GPU where there is one.
///
/// # Errors
/// When it names a GPU that is not there.
pub fn device(run: &RunSection) -> Result<Device, AssembleError> {
    let missing = |reason: String| AssembleError::Device { wanted: run.device.clone(), reason };
    let available = anneal_torch::cuda::is_available();
    match run.device.as_str() {
        "auto" if available => Ok(Device::Cuda(0)),
        "auto" | "cpu" => Ok(Device::Cpu),
        name => {
            if !available {
                return Err(missing(
                    "there is no usable GPU here; `cargo xtask setup --cuda` fetches CUDA's libraries".to_owned(),
                ));
            }
            let index = name
                .strip_prefix("cuda:")
                .map_or(Ok(0), str::parse::<usize>)
                .map_err(|error| missing(error.to_string()))?;
            let count = tch::Cuda::device_count();
            if index as i64 >= count {
                return Err(missing(format!("the machine has {count} GPUs, counted from 0")));
            }
            Ok(Device::Cuda(index))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Precision;

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_with_the_remedy() {
        let run = |device: &str| RunSection {
            dir: "x".into(),
            seed: 0,
            device: device.to_owned(),
            precision: Precision::F32,
            threads: None,
        };
        assert_eq!(device(&run("cpu")).unwrap(), Device::Cpu);
        let error = device(&run("cuda:99")).unwrap_err().to_string();
        assert!(error.contains("cuda:99") && error.contains("GPU"), "{error}");
    }
}
