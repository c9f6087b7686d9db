// How many workers fit this machine or container: the CPUs we may run on, and the cgroup's quota.
#pragma once

#include <optional>
#include <string>

namespace kw {

// CPUs this process may be scheduled on; at least 1.
[[nodiscard]] unsigned affinity_cpus() noexcept;

// The tightest CPU quota of our control group and its parents, in CPUs (1.5 = 150 ms of CPU time
// per 100 ms); none when there is no limit or no cgroup. Understands version 2 (cpu.max) and
// version 1 (cpu.cfs_quota_us). `root` is where /proc and /sys are looked for: "" in production.
[[nodiscard]] std::optional<double> cgroup_cpu_quota(const std::string& root = {});

// Whole CPUs in the quota (a fraction more than that is left to the control thread), no more
// than there are CPUs, at least 1.
[[nodiscard]] unsigned worker_count(unsigned cpus, std::optional<double> quota) noexcept;

}  // namespace kw
