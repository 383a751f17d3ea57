//! Finds the runtime library and turns packages into sessions.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    backend::{Backend, LoadOptions},
    onnxruntime,
    package::Package,
    session::{ModelError, Session},
};

/// File name of ONNX Runtime on this system, as `make setup` puts it beside the executables.
pub const LIBRARY: &str =
    if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };

/// The variable that names a library, as every user of ONNX Runtime from Rust knows it.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// A runtime that can load packages. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    backend: Arc<dyn Backend>,
    options: LoadOptions,
}

/// Why there is no runtime. The caller goes on without models.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// This executable is linked statically and cannot load a library at all.
    #[error(
        "inference is unavailable: this is a static build, which cannot load ONNX Runtime; \
         scoring goes on with statistics"
    )]
    StaticBuild,
    /// No library was named and none was found.
    #[error(
        "inference is unavailable: no {LIBRARY} found (looked for {}); run `make setup`, or name \
         one with {LIBRARY_VARIABLE} or in the configuration",
        looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Missing {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// A library was named or found, and cannot be used.
    #[error("inference is unavailable: {} ({named_by}) cannot be used: {reason}", path.display())]
    Unusable {
        /// The library.
        path: PathBuf,
        /// Who named it.
        named_by: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where a library may be: one that was named is the only candidate, so that a typing error is
/// reported and not papered over by another library.
fn candidates(
    configured: Option<&Path>,
    variable: Option<PathBuf>,
    executable: Option<&Path>,
) -> (&'static str, Vec<PathBuf>) {
    if let Some(path) = configured {
        return ("named in the configuration", vec![path.into()]);
    }
    if let Some(path) = variable {
        return ("named by ORT_DYLIB_PATH", vec![path]);
    }
    let folder = executable.and_then(Path::parent);
    // Tests and examples live one folder below the executables.
    let folders = folder.into_iter().flat_map(|own| [Some(own), own.parent()]).flatten();
    ("beside the executable", folders.map(|folder| folder.join(LIBRARY)).collect())
}

impl Runtime {
    /// Finds and loads ONNX Runtime: the configured path, else the one that `ORT_DYLIB_PATH`
    /// names, else the one beside the executable or in the folder above it.
    ///
    /// A process holds one runtime: whoever asks a second time gets the first, wherever it was
    /// found.
    pub fn find(configured: Option<&Path>) -> Result<Self, RuntimeError> {
        let variable = env::var_os(LIBRARY_VARIABLE).filter(|path| !path.is_empty());
        let executable = env::current_exe().ok();
        let static_build = cfg!(target_feature = "crt-static");
        Self::look(
            static_build,
            candidates(configured, variable.map(PathBuf::from), executable.as_deref()),
        )
    }

    fn look(
        static_build: bool,
        (named_by, looked): (&'static str, Vec<PathBuf>),
    ) -> Result<Self, RuntimeError> {
        // A static executable has no dynamic loader: dlopen of a library that needs glibc
        // crashes it, so nothing is tried whatever the configuration names.
        if static_build {
            return Err(RuntimeError::StaticBuild);
        }
        let named = named_by != "beside the executable";
        let found = looked.iter().find(|path| named || path.is_file());
        let Some(path) = found else { return Err(RuntimeError::Missing { looked }) };
        let unusable =
            |reason: String| RuntimeError::Unusable { path: path.clone(), named_by, reason };
        // A bare name would be searched in the system's folders; a path is what was meant.
        let path = path.canonicalize().map_err(|error| unusable(error.to_string()))?;
        let backend = onnxruntime::load(&path).map_err(unusable)?;
        Ok(Self::with_backend(backend))
    }

    /// A runtime on any backend.
    pub fn with_backend(backend: Arc<dyn Backend>) -> Self {
        Self { backend, options: LoadOptions::default() }
    }

    /// Uses so many threads inside an operator, instead of one.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.options.threads = threads.max(1);
        self
    }

    /// Asks these execution providers, the first first.
    #[must_use]
    pub fn with_providers(mut self, providers: &[String]) -> Self {
        self.options.providers = providers.to_vec();
        self
    }

    /// Execution providers of those asked for that this library has; none where it does not tell.
    pub fn available(&self) -> Vec<String> {
        self.backend.available(&self.options.providers)
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Name and version of what runs the models.
    pub fn describe(&self) -> String {
        self.backend.describe()
    }

    /// Loads a package's model and asks it the known questions; a model that answers
    /// differently here than where it was made is not handed out.
    pub fn load(&self, package: &Package) -> Result<Session, ModelError> {
        let model = self
            .backend
            .load(package.model(), &self.options)
            .map_err(|error| ModelError::Load { name: package.manifest().name.clone(), error })?;
        Session::prove(package, model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_library_is_the_only_candidate() {
        let exe = Path::new("/t/debug/deps/x");
        let named = |path: Option<&str>, variable: Option<&str>| {
            candidates(path.map(Path::new), variable.map(PathBuf::from), Some(exe)).1
        };
        assert_eq!(named(Some("/c"), Some("/v")), [PathBuf::from("/c")]);
        assert_eq!(named(None, Some("/v")), [PathBuf::from("/v")]);
        let beside =
            [Path::new("/t/debug/deps").join(LIBRARY), Path::new("/t/debug").join(LIBRARY)];
        assert_eq!(named(None, None), beside);
    }

    #[test]
    fn a_static_build_never_tries() {
        let named = candidates(None, Some("/whatever/libonnxruntime.so".into()), None);
        let error = Runtime::look(true, named).err();
        assert_eq!(error, Some(RuntimeError::StaticBuild));
    }

    #[test]
    fn a_missing_library_says_how_to_get_it() {
        let nowhere = candidates(None, None, Some(Path::new("/nowhere/bin/x")));
        let error = Runtime::look(false, nowhere).err().map(|error| error.to_string());
        let text = error.unwrap_or_default();
        assert!(text.contains("make setup") && text.contains("/nowhere/bin/"), "{text}");
        let named = candidates(Some(Path::new("/nowhere/lib.so")), None, None);
        let text = Runtime::look(false, named).err().map(|error| error.to_string());
        assert!(text.unwrap_or_default().contains("/nowhere/lib.so (named in the configuration)"));
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LIBRARY);
        std::fs::write(&path, b"not a library").unwrap();
        let named = candidates(Some(&path), None, None);
        let error = Runtime::look(false, named).err();
        assert!(matches!(error, Some(RuntimeError::Unusable { .. })), "{error:?}");
    }
}
