// What this process uses of the machine, and how much it may.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace kw {

// User and system time of all threads.
[[nodiscard]] std::chrono::nanoseconds process_cpu_time() noexcept;
// From now on the calling thread, and those it starts, stand behind the others of the process for a
// processor: for what nobody waits for, so that a worker that wakes need not wait for it to end.
void step_back() noexcept;
// Physical memory; 0: not known.
[[nodiscard]] std::uint64_t resident_bytes() noexcept;
// The tightest memory limit of our control group and its parents, or the machine's memory. `root`
// is where /proc and /sys are looked for: "" in production.
[[nodiscard]] std::uint64_t memory_limit(const std::string& root = {});
// Free for us where that path lies, from 0 to 1; none: not known.
[[nodiscard]] std::optional<double> free_share_of_disk(const std::string& path) noexcept;

}  // namespace kw
