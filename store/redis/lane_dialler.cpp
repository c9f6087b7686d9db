// Dialling, of one server or of the masters of a Cluster.
#include "store/redis/lane_dialler.hpp"

#include <pthread.h>

#include <algorithm>

#include "store/redis/cluster.hpp"

namespace kw::store::redis {

result<lane_lines> dial_shards(const target& to, const pipeline& scripts, deadline until,
                               std::vector<reply>* loaded, std::size_t* of_others) {
    std::vector<target> servers;
    std::array<std::uint8_t, step_places> of{};
    if (to.cluster == nullptr) {
        servers.push_back(to);
    } else {
        const auto view = to.cluster->now();
        std::vector<place> places;
        for (std::size_t i = 0; i < step_places; ++i) {
            const auto* at = view == nullptr ? nullptr : view->at(slot_of(tag_of(i)));
            if (at == nullptr)
                return error(errc::store_unavailable, "a slot of the Cluster has no master",
                             error_source::store);
            if (i == shard_count && of_others == nullptr) break;
            auto found = std::ranges::find(places, *at);
            of[i] = static_cast<std::uint8_t>(found - places.begin());
            if (found != places.end()) continue;
            places.push_back(*at);
            servers.push_back(to.server(*at));
        }
    }
    lane_lines out;
    for (const auto& server : servers) {
        auto on = std::make_unique<connection>();
        if (auto up = on->open(server, until); !up) return up.error();
        auto told = on->exchange(scripts, until);
        if (!told) return told.error();
        for (const auto& r : *told)
            if (r.is_error())
                return error(errc::store_unavailable, "Redis: " + r.text, error_source::store);
        if (loaded != nullptr) *loaded = std::move(*told);
        out.open.push_back(std::move(on));
    }
    std::copy_n(of.begin(), shard_count, out.of_shard.begin());
    if (of_others != nullptr) *of_others = of[shard_count];
    return out;
}

lane_dialler::lane_dialler(std::function<result<lane_lines>()> dial, std::function<void()> done)
    : dial_(std::move(dial)), done_(std::move(done)), thread_([this] { run(); }) {
    ::pthread_setname_np(thread_.native_handle(), "kw-dialler");
}

lane_dialler::~lane_dialler() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

void lane_dialler::want(std::vector<std::shared_ptr<lane_door>> doors) {
    {
        const std::lock_guard lock(mutex_);
        std::ranges::move(doors, std::back_inserter(wanted_));
    }
    wake_.notify_one();
}

std::vector<lane_dialler::dialled> lane_dialler::take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(dialled_, {});
}

void lane_dialler::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stopping_ || !wanted_.empty(); });
        if (stopping_) return;
        auto doors = std::exchange(wanted_, {});
        lock.unlock();
        std::vector<dialled> out;
        bool up = true;
        for (auto& door : doors) {
            std::optional<lane_lines> lines;
            if (up && !stopping_)
                if (auto made = dial_()) lines = std::move(*made);
            up = lines.has_value();
            out.push_back({std::move(door), std::move(lines)});
        }
        lock.lock();
        std::ranges::move(out, std::back_inserter(dialled_));
        lock.unlock();
        done_();
        lock.lock();
    }
}

}  // namespace kw::store::redis
