// Admission in memory: the access keys spread over shards, each under a lock of its own.
#include "store/admission.hpp"

#include <array>
#include <mutex>

#include "store/embedded/key_usage.hpp"

namespace kw::store {
namespace {

using embedded::key_usage;

constexpr std::size_t lock_count = 64;

class embedded_admission final : public admission {
  public:
    embedded_admission(const admission_options& options, const clock_source& clock)
        : clock_(clock),
          keep_{options.keep_settled.count(), options.keep_expired.count()},
          offset_(options.time_offset.count()) {}

    void admit(const admit_request& request, admit_completion done) override {
        admit_answer answer;
        {
            auto& s = shard_of_key(request.access_key_id);
            const std::lock_guard lock(s.mutex);
            answer = s.keys[request.access_key_id].admit(now(), request, keep_);
            ++s.decided;
        }
        done(std::move(answer));
    }

    void settle(const lease_ref& which, const amounts& real) override {
        with(which.access_key_id,
             [&](key_usage& k) { k.settle(now(), which.ledger_id, real, keep_); });
    }

    void release(const lease_ref& which) override {
        with(which.access_key_id, [&](key_usage& k) { k.release(now(), which.ledger_id, keep_); });
    }

    void renew(const std::vector<lease_ref>& which, std::chrono::milliseconds ttl) override {
        for (const auto& one : which)
            with(one.access_key_id,
                 [&](key_usage& k) { k.renew(now(), one.ledger_id, ttl.count(), keep_); });
    }

    void peek(const std::vector<usage_question>& questions, usage_completion done) override {
        std::vector<usage_answer> out;
        out.reserve(questions.size());
        for (const auto& q : questions) {
            auto& s = shard_of_key(q.access_key_id);
            const std::lock_guard lock(s.mutex);
            const auto found = s.keys.find(q.access_key_id);
            if (found != s.keys.end())
                out.push_back(found->second.peek(now(), *q.limits, keep_));
            else
                out.push_back(key_usage().peek(now(), *q.limits, keep_));
        }
        done(std::move(out));
    }

    void preload(const std::string& access_key_id, const limit& budget,
                 std::int64_t used) override {
        auto& s = shard_of_key(access_key_id);
        const std::lock_guard lock(s.mutex);
        s.keys[access_key_id].preload(now(), budget, used);
    }

    void forget(const std::string& access_key_id) override {
        auto& s = shard_of_key(access_key_id);
        const std::lock_guard lock(s.mutex);
        s.keys.erase(access_key_id);
    }

    void sweep() override {
        for (auto& s : shards_) {
            const std::lock_guard lock(s.mutex);
            for (auto k = s.keys.begin(); k != s.keys.end();) {
                while (!k->second.sweep(now(), keep_)) {
                }
                k = k->second.empty(now()) ? s.keys.erase(k) : std::next(k);
            }
        }
    }

    [[nodiscard]] admission_health health() const override {
        admission_health out;
        for (auto& s : shards_) {
            const std::lock_guard lock(s.mutex);
            out.decided += s.decided;
        }
        return out;
    }

  private:
    struct alignas(64) shard {
        mutable std::mutex mutex;
        std::unordered_map<std::string, key_usage> keys;
        std::uint64_t decided = 0;
    };

    [[nodiscard]] std::int64_t now() const noexcept { return unix_ms(clock_.wall()) + offset_; }
    [[nodiscard]] shard& shard_of_key(const std::string& id) noexcept {
        return shards_[std::hash<std::string>()(id) % lock_count];
    }
    // Nothing is done for an access key that nothing is known of.
    template <class Step>
    void with(const std::string& id, const Step& step) {
        auto& s = shard_of_key(id);
        const std::lock_guard lock(s.mutex);
        if (const auto found = s.keys.find(id); found != s.keys.end()) step(found->second);
    }

    const clock_source& clock_;
    const embedded::keeping keep_;
    const std::int64_t offset_;
    std::array<shard, lock_count> shards_;
};

}  // namespace

std::unique_ptr<admission> make_embedded_admission(const admission_options& options,
                                                   const clock_source& clock) {
    return std::make_unique<embedded_admission>(options, clock);
}

}  // namespace kw::store
