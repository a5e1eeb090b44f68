//! `shop`: starts the shop, looks into it, fills it, and proves that it lost nothing.

/// Many small allocations are made by one thread and freed by another here: workers, writers and readers of the stores.
/// The system's allocator makes them wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    shop::program().main()
}
