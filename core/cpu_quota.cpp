// Reads the scheduler's affinity mask and the cgroup files.
#include "core/cpu_quota.hpp"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>

namespace kw {

namespace {

void keep_tightest(std::optional<double>& quota, std::optional<double> other) {
    if (other && (!quota || *other < *quota)) quota = other;
}

// cpu.max: "max 100000" or "150000 100000".
[[nodiscard]] std::optional<double> read_v2(const std::string& folder) {
    std::ifstream file(folder + "/cpu.max");
    double quota = 0;
    double period = 0;
    if (file >> quota >> period && quota > 0 && period > 0) return quota / period;
    return std::nullopt;
}

// cpu.cfs_quota_us: -1 is no limit.
[[nodiscard]] std::optional<double> read_v1(const std::string& folder) {
    std::ifstream quota_file(folder + "/cpu.cfs_quota_us");
    std::ifstream period_file(folder + "/cpu.cfs_period_us");
    double quota = 0;
    double period = 0;
    if (quota_file >> quota && period_file >> period && quota > 0 && period > 0) {
        return quota / period;
    }
    return std::nullopt;
}

// From our group up to the mount's root. In a container without a cgroup namespace the path is
// the host's and does not exist here; the mount's root then is our own group.
template <class Read>
[[nodiscard]] std::optional<double> tightest(const std::string& mount, std::string path,
                                             Read read) {
    std::optional<double> quota;
    while (true) {
        if (path == "/") path.clear();
        keep_tightest(quota, read(mount + path));
        if (path.empty()) return quota;
        const auto slash = path.rfind('/');
        path.erase(slash == std::string::npos ? 0 : slash);
    }
}

[[nodiscard]] bool names_cpu(std::string_view controllers) {
    while (!controllers.empty()) {
        const auto comma = std::min(controllers.find(','), controllers.size());
        if (controllers.substr(0, comma) == "cpu") return true;
        controllers.remove_prefix(std::min(comma + 1, controllers.size()));
    }
    return false;
}

}  // namespace

unsigned affinity_cpus() noexcept {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return static_cast<unsigned>(std::max(CPU_COUNT(&set), 1));
}

std::optional<double> cgroup_cpu_quota(const std::string& root) {
    std::ifstream groups(root + "/proc/self/cgroup");
    const std::string mount = root + "/sys/fs/cgroup";
    std::optional<double> quota;
    // Lines "number:controllers:path"; version 2 is number 0 without controllers.
    for (std::string line; std::getline(groups, line);) {
        std::istringstream parts(line);
        std::string number;
        std::string controllers;
        std::string path;
        std::getline(parts, number, ':');
        std::getline(parts, controllers, ':');
        std::getline(parts, path);
        if (number == "0" && controllers.empty()) {
            keep_tightest(quota, tightest(mount, path, read_v2));
        } else if (names_cpu(controllers)) {
            keep_tightest(quota, tightest(mount + "/" + controllers, path, read_v1));
            if (controllers != "cpu") keep_tightest(quota, tightest(mount + "/cpu", path, read_v1));
        }
    }
    return quota;
}

unsigned worker_count(unsigned cpus, std::optional<double> quota) noexcept {
    const double limit = quota ? std::min(*quota, static_cast<double>(cpus)) : cpus;
    return std::max(static_cast<unsigned>(limit), 1U);
}

}  // namespace kw
