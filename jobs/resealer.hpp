// One master key takes over from another while everything serves: asks all replicas whether they
// have it, then seals every stored secret anew. Any replica may be killed at any moment; another,
// or the same one after its restart, goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "auth/master_key.hpp"
#include "core/crypto.hpp"
#include "core/ids.hpp"
#include "jobs/catalog.hpp"
#include "store/store.hpp"

namespace kw::jobs {

// Control thread only; see docs/adr/0009-another-master-key.md.
class resealer final : public auth::master_key_keeper {
  public:
    struct surroundings {
        store::store& store;
        const catalog& known;
        crypto::sealer& sealer;
        const clock_source& clock;
        random_source& random;
        std::string name;  // of this process, for a person
        // The id of the key that the configuration wants to seal with, made where keywheel keeps
        // the key itself. The sealer knows it then.
        std::function<result<std::string>()> wanted;
        // All is sealed by the key of this id.
        std::function<void(const std::string& id)> finished;
        // Processes that are alive, this one included.
        std::function<std::uint64_t()> replicas;
    };
    explicit resealer(surroundings s);

    // After the catalog was refreshed: the store says which key seals.
    void follow();
    // Now and then, with the catalog fresh and the store at hand: a bounded piece of what there is
    // to do. True: there is more, come again soon.
    bool round();

    result<void> begin() override;
    [[nodiscard]] auth::takeover_progress progress() const override;

  private:
    [[nodiscard]] auth::takeover stored(std::uint64_t* revision = nullptr) const;
    bool write(const auth::takeover& next, std::uint64_t revision);
    void answer(const auth::takeover& t);
    void count_answers(const auth::takeover& t, std::uint64_t revision);
    void forget_answers(std::string_view ask);
    bool reseal(const auth::takeover& t, std::uint64_t revision);
    [[nodiscard]] std::size_t seal_some(std::size_t& left);
    void tell_finished(const std::string& id);

    surroundings with_;
    std::string id_;        // of this process
    auth::takeover asked_;  // the question of this process; none: it has its answers
    mono_time asked_at_{};  // when
    std::string answered_;  // the last question that was answered
    std::string complained_;
    std::string finished_;
    std::uint64_t looked_at_ = 0;  // the catalog's revision when nothing was left
    bool mine_ = false;            // this process seals; others watch it
    std::size_t left_ = 0;
    mono_time left_since_{};
    std::set<std::pair<std::string, std::uint64_t>> broken_;  // ids with revisions
};

}  // namespace kw::jobs
