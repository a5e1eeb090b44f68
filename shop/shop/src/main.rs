//! `shop`: starts the shop, looks into it, fills it, and proves that it lost nothing.

fn main() -> std::process::ExitCode {
    shop::program().main()
}
