// /proc, control groups, statvfs.
#include "core/resources.hpp"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

namespace kw {

std::chrono::nanoseconds process_cpu_time() noexcept {
    rusage u{};
    if (::getrusage(RUSAGE_SELF, &u) != 0) return {};
    const auto of = [](const timeval& t) {
        return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
    };
    return of(u.ru_utime) + of(u.ru_stime);
}

void step_back() noexcept {
    // Of threads, not of processes, on Linux. A third of the weight: enough to keep up with what
    // workers make even where all share one processor.
    constexpr int steps = 5;
    const auto self = static_cast<id_t>(::gettid());
    errno = 0;
    const int now = ::getpriority(PRIO_PROCESS, self);
    if (now != -1 || errno == 0) ::setpriority(PRIO_PROCESS, self, now + steps);
}

std::uint64_t resident_bytes() noexcept {
    std::ifstream in("/proc/self/statm");
    std::uint64_t all = 0;
    std::uint64_t resident = 0;
    if (!(in >> all >> resident)) return 0;
    return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t memory_limit(const std::string& root) {
    std::uint64_t least = static_cast<std::uint64_t>(std::max(::sysconf(_SC_PHYS_PAGES), 0L)) *
                          static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    // Version 2: "0::/path"; a limit of a parent holds for its children.
    std::ifstream groups(root + "/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
        if (!line.starts_with("0::/")) continue;
        std::string path = line.substr(3);
        for (;;) {
            std::ifstream in(root + "/sys/fs/cgroup" + path + "/memory.max");
            if (std::uint64_t most = 0; in >> most) least = std::min(least, most);
            const auto slash = path.rfind('/');
            if (slash == std::string::npos) break;
            path.erase(slash);
        }
    }
    std::ifstream first(root + "/sys/fs/cgroup/memory/memory.limit_in_bytes");
    if (std::uint64_t most = 0; first >> most) least = std::min(least, most);
    return least;
}

std::optional<double> free_share_of_disk(const std::string& path) noexcept {
    struct statvfs s{};
    if (::statvfs(path.c_str(), &s) != 0 || s.f_blocks == 0) return std::nullopt;
    return static_cast<double>(s.f_bavail) / static_cast<double>(s.f_blocks);
}

}  // namespace kw
