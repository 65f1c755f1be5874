//! `setup --cuda`: the libraries a GPU needs, loaded at run time and never linked.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::libtorch::{CUDART, CUPTI, TORCH, VERSION};
use super::wheel::{self, Wheel};
use crate::failure::Failure;
use crate::paths::Paths;

/// The wheels that torch 2.11.0 requires for CUDA 13.0, beyond the two that libtorch_cpu.so needs. Their versions are
/// those in the metadata of torch and of cuda-toolkit 13.0.2, which torch's metadata refers to.
const WHEELS: [Wheel; 14] = [
    wheel_of("nvidia-cublas", "13.1.0.3", "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171", 423),
    wheel_of("nvidia-cuda-nvrtc", "13.0.88", "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575", 90),
    wheel_of("nvidia-cudnn-cu13", "9.19.0.56", "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf", 366),
    wheel_of("nvidia-cufft", "12.0.0.61", "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3", 214),
    wheel_of("nvidia-cufile", "1.15.1.6", "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44", 1),
    wheel_of("nvidia-curand", "10.4.0.35", "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc", 60),
    wheel_of("nvidia-cusolver", "12.0.4.66", "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112", 201),
    wheel_of("nvidia-cusparse", "12.6.3.3", "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b", 146),
    wheel_of(
        "nvidia-cusparselt-cu13",
        "0.8.0",
        "25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd",
        170,
    ),
    wheel_of("nvidia-nccl-cu13", "2.28.9", "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42", 196),
    wheel_of("nvidia-nvjitlink", "13.0.88", "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b", 41),
    wheel_of("nvidia-nvshmem-cu13", "3.4.5", "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80", 60),
    wheel_of("nvidia-nvtx", "13.0.85", "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4", 1),
    // Its cupti is the one that libtorch_cpu.so has loaded already; what lies beside it serves profilers.
    CUPTI,
];

const fn wheel_of(name: &'static str, version: &'static str, sha256: &'static str, size_mb: u32) -> Wheel {
    Wheel { name, version, sha256, size_mb }
}

/// Libraries that libtorch_cpu.so opens by bare name when an operation asks for them.
const OPENED_BY_NAME: [&str; 2] = ["libcaffe2_nvrtc.so", "libtorch_cuda_linalg.so"];

/// Adds `cuda/lib/libtorch_cuda.so`, and under `nvidia` what it needs, to the fetched libtorch. They lie as in the
/// wheels, so that the libraries' own search paths hold.
///
/// # Errors
/// When `.libtorch` leads to a libtorch of the user's own that has no CUDA, or a wheel cannot be fetched.
pub fn ensure(paths: &Paths, libtorch: &Path) -> Result<(), Failure> {
    if libtorch.join("cuda/lib/libtorch_cuda.so").exists() {
        return Ok(());
    }
    if libtorch != paths.cache.join(format!("libtorch-{VERSION}")) {
        return Err(Failure::new(
            format!("{} is a libtorch without CUDA, and not ours to add it to", libtorch.display()),
            format!("`unset LIBTORCH`, remove {}, and run this again", paths.libtorch_link().display()),
        ));
    }
    let partial = paths.cache.join(".partial-cuda");
    wheel::remove_folder(&partial)?;
    let mut files = Vec::new();
    for wheel in WHEELS.iter().chain([&CUDART]) {
        let file = wheel.fetch(paths)?;
        wheel::unpack(&file, &partial, &["nvidia/=nvidia"])?;
        files.push(file);
    }
    let torch = TORCH.fetch(paths)?;
    wheel::unpack(&torch, &partial, &["torch/lib/lib*.so=cuda/lib"])?;
    files.push(torch);
    for file in ["libtorch_cpu.so", "libtorch.so", "libc10.so", "libtorch_python.so"] {
        let copy = partial.join("cuda/lib").join(file);
        fs::remove_file(&copy).map_err(|error| Failure::file("remove", &copy, &error))?;
    }
    // `cuda` moves last: its presence says that all of it is there.
    let nvidia = libtorch.join("nvidia");
    wheel::remove_folder(&nvidia)?;
    fs::rename(partial.join("nvidia"), &nvidia).map_err(|error| Failure::file("move a folder to", &nvidia, &error))?;
    link_opened_by_name(libtorch)?;
    let cuda = libtorch.join("cuda");
    wheel::remove_folder(&cuda)?;
    fs::rename(partial.join("cuda"), &cuda).map_err(|error| Failure::file("move a folder to", &cuda, &error))?;
    for file in files {
        fs::remove_file(&file).map_err(|error| Failure::file("remove", &file, &error))?;
    }
    println!("set-up: CUDA is in {}", cuda.display());
    Ok(())
}

/// libtorch_cpu.so looks for what it opens by name only beside itself, and what that needs is looked for there too.
fn link_opened_by_name(libtorch: &Path) -> Result<(), Failure> {
    let folder = libtorch.join("nvidia/cu13/lib");
    let entries = fs::read_dir(&folder).map_err(|error| Failure::file("read", &folder, &error))?;
    let needed =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| name.contains(".so."));
    let targets = needed.map(|name| format!("../nvidia/cu13/lib/{name}"));
    for target in targets.chain(OPENED_BY_NAME.iter().map(|name| format!("../cuda/lib/{name}"))) {
        let Some(name) = Path::new(&target).file_name() else { continue };
        let link = libtorch.join("lib").join(name);
        if !link.exists() && !link.is_symlink() {
            symlink(&target, &link).map_err(|error| Failure::file("make the link", &link, &error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the metadata of the torch 2.11.0 wheel.
    const TORCH_REQUIRES: &str = "\
Requires-Dist: filelock
Requires-Dist: cuda-toolkit[cublas,cudart,cufft,cufile,cupti,curand,cusolver,cusparse,nvjitlink,nvrtc,nvtx]==13.0.2; platform_system == \"Linux\"
Requires-Dist: cuda-bindings<14,>=13.0.3; platform_system == \"Linux\"
Requires-Dist: nvidia-cudnn-cu13==9.19.0.56; platform_system == \"Linux\"
Requires-Dist: nvidia-cusparselt-cu13==0.8.0; platform_system == \"Linux\"
Requires-Dist: nvidia-nccl-cu13==2.28.9; platform_system == \"Linux\"
Requires-Dist: nvidia-nvshmem-cu13==3.4.5; platform_system == \"Linux\"
Requires-Dist: triton==3.6.0; platform_system == \"Linux\"
";

    /// From the metadata of the cuda-toolkit 13.0.2 wheel, without the extras' platforms.
    const TOOLKIT_REQUIRES: &str = "\
Requires-Dist: nvidia-cublas==13.1.0.3.*; extra == 'cublas'
Requires-Dist: nvidia-cuda-runtime==13.0.96.*; extra == 'cudart'
Requires-Dist: nvidia-cufft==12.0.0.61.*; extra == 'cufft'
Requires-Dist: nvidia-cufile==1.15.1.6.*; extra == 'cufile'
Requires-Dist: nvidia-cuda-cupti==13.0.85.*; extra == 'cupti'
Requires-Dist: nvidia-curand==10.4.0.35.*; extra == 'curand'
Requires-Dist: nvidia-cusolver==12.0.4.66.*; extra == 'cusolver'
Requires-Dist: nvidia-cusparse==12.6.3.3.*; extra == 'cusparse'
Requires-Dist: nvidia-nvjitlink==13.0.88.*; extra == 'nvjitlink'
Requires-Dist: nvidia-cuda-nvrtc==13.0.88.*; extra == 'nvrtc'
Requires-Dist: nvidia-nvtx==13.0.85.*; extra == 'nvtx'
";

    #[test]
    fn every_nvidia_library_that_torch_requires_is_fetched_and_no_other() {
        let required = TORCH_REQUIRES.lines().chain(TOOLKIT_REQUIRES.lines()).filter_map(|line| {
            let requirement = line.strip_prefix("Requires-Dist: ")?.split(';').next()?;
            let (name, version) = requirement.split_once("==")?;
            name.starts_with("nvidia-").then(|| format!("{name}=={}", version.trim_end_matches(".*")))
        });
        let fetched = WHEELS.iter().chain([&CUDART]).map(|wheel| format!("{}=={}", wheel.name, wheel.version));
        let (mut required, mut fetched): (Vec<_>, Vec<_>) = (required.collect(), fetched.collect());
        required.sort();
        fetched.sort();
        assert_eq!(fetched, required);
    }

    #[test]
    fn what_libtorch_opens_by_name_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "nvidia/cu13/lib/libcusolver.so.12",
            "nvidia/cu13/lib/libnvvm.a",
            "cuda/lib/libcaffe2_nvrtc.so",
            "lib/libc10.so",
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        link_opened_by_name(folder.path()).unwrap();
        for name in ["libcusolver.so.12", "libcaffe2_nvrtc.so"] {
            assert!(folder.path().join("lib").join(name).exists(), "{name}");
        }
        assert!(!folder.path().join("lib/libnvvm.a").exists());
    }

    #[test]
    fn a_libtorch_of_the_users_own_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths { root: folder.path().to_path_buf(), cache: folder.path().join("cache") };
        let failure = ensure(&paths, folder.path()).unwrap_err();
        assert!(failure.what.contains("not ours"), "{}", failure.what);
    }
}
