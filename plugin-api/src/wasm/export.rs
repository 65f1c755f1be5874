//! `export_plugin!`: from types to a component's exports.

/// Exports the entries of a plugin, grouped by kind:
///
/// ```text
/// export_plugin! {
///     discretization "edm" => Edm, "legacy-ddpm" => LegacyDdpm;
///     weighting "min-snr" => MinSnr;
/// }
/// ```
///
/// Kinds are `discretization`, `sigma_sampling`, `guidance`, `learning_rate`, `weighting` and `sampler`. The macro also
/// makes `PLUGIN`, a [`Plugin`](crate::wasm::Plugin), for the plugin's tests.
#[macro_export]
macro_rules! export_plugin {
    ($($kind:ident $($name:literal => $entry:ty),+ $(,)?);+ $(;)?) => {
        /// The entries of this plugin.
        pub static PLUGIN: $crate::wasm::Plugin = $crate::wasm::Plugin {
            entries: &[$($($crate::__entry!($kind $name $entry)),+),+],
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::wasm::glue;

            struct Lifecycle;
            impl glue::lifecycle::Guest for Lifecycle {
                fn describe() -> ::std::string::String {
                    glue::describe(&PLUGIN)
                }
                fn check_config(
                    entry: ::std::string::String,
                    config: ::std::string::String,
                ) -> ::std::vec::Vec<glue::Diagnostic> {
                    glue::check_config(&PLUGIN, &entry, &config)
                }
                fn init(
                    entry: ::std::string::String,
                    config: ::std::string::String,
                ) -> ::std::result::Result<(), glue::PluginError> {
                    glue::init(&config, |config| match entry.as_str() {
                        $($($name => $crate::__start!($kind $entry, config),)+)+
                        _ => PLUGIN.entry(&entry).map(|_| ()),
                    })
                }
            }
            glue::lifecycle::__export_anneal_plugin_lifecycle_1_0_0_cabi!(Lifecycle with_types_in glue::lifecycle);

            use glue::Component;
            $($crate::__export_kind!($kind);)+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __entry {
    (discretization $name:literal $entry:ty) => { $crate::__entry!(@ Discretization "discretization" $name $entry) };
    (sigma_sampling $name:literal $entry:ty) => { $crate::__entry!(@ SigmaSampling "sigma-sampling" $name $entry) };
    (guidance $name:literal $entry:ty) => { $crate::__entry!(@ Guidance "guidance" $name $entry) };
    (learning_rate $name:literal $entry:ty) => { $crate::__entry!(@ LearningRate "learning-rate" $name $entry) };
    (weighting $name:literal $entry:ty) => { $crate::__entry!(@ Weighting "weighting" $name $entry) };
    (sampler $name:literal $entry:ty) => { $crate::__entry!(@ Sampler "sampler" $name $entry) };
    (@ $kind:ident $text:literal $name:literal $entry:ty) => {{
        // The bound is asserted here too, so that a missing trait is an error natively, not in the WASM build alone.
        const fn implements<T: $crate::wasm::$kind>() {}
        implements::<$entry>();
        $crate::wasm::EntryDescriptor::of::<$entry>($name, $text)
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __start {
    (discretization $entry:ty, $config:ident) => {
        glue::start::<_, $entry>(&glue::DISCRETIZATION, $config, |entry| Box::new(entry))
    };
    (sigma_sampling $entry:ty, $config:ident) => {
        glue::start::<_, $entry>(&glue::SIGMA_SAMPLING, $config, |entry| Box::new(entry))
    };
    (guidance $entry:ty, $config:ident) => {
        glue::start::<_, $entry>(&glue::GUIDANCE, $config, |entry| Box::new(entry))
    };
    (learning_rate $entry:ty, $config:ident) => {
        glue::start::<_, $entry>(&glue::LEARNING_RATE, $config, |entry| Box::new(entry))
    };
    (weighting $entry:ty, $config:ident) => {
        glue::start::<_, $entry>(&glue::WEIGHTING, $config, |entry| Box::new(entry))
    };
    (sampler $entry:ty, $config:ident) => {
        glue::start::<_, $entry>(&glue::SAMPLER, $config, |entry| Box::new(entry))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_kind {
    (discretization) => { $crate::__export_kind!(@ "discretization" DISCRETIZATION
        discretization __export_anneal_plugin_discretization_1_0_0_cabi); };
    (sigma_sampling) => { $crate::__export_kind!(@ "sigma-sampling" SIGMA_SAMPLING
        sigma_sampling __export_anneal_plugin_sigma_sampling_1_0_0_cabi); };
    (guidance) => { $crate::__export_kind!(@ "guidance" GUIDANCE
        guidance __export_anneal_plugin_guidance_1_0_0_cabi); };
    (learning_rate) => { $crate::__export_kind!(@ "learning-rate" LEARNING_RATE
        learning_rate __export_anneal_plugin_learning_rate_1_0_0_cabi); };
    (weighting) => { $crate::__export_kind!(@ "weighting" WEIGHTING
        weighting __export_anneal_plugin_weighting_1_0_0_cabi); };
    (sampler) => { $crate::__export_kind!(@ "sampler" SAMPLER
        sampling __export_anneal_plugin_sampling_1_0_0_cabi); };
    (@ $section:literal $world:ident $interface:ident $export:ident) => {
        glue::$interface::$export!(Component with_types_in glue::$interface);
        const _: () = {
            #[used]
            #[unsafe(link_section = concat!("component-type:anneal:", $section))]
            static WORLD: [u8; $crate::wasm::worlds::$world.len()] =
                $crate::wasm::worlds::section($crate::wasm::worlds::$world);
        };
    };
}
