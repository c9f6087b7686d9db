// The master keys of this process: which it was given, which the store wants, and the one that it
// keeps itself where none is given.
#include <unistd.h>

#include <array>
#include <filesystem>

#include "app/runtime_impl.hpp"
#include "auth/pepper.hpp"
#include "core/log.hpp"
#include "store/data_dir.hpp"

namespace kw::app {
namespace {

std::string own_key(const config::settings& s) {
    return s.store.data_dir + "/encryption.key";
}
std::string next_key(const config::settings& s) {
    return own_key(s) + ".next";
}

}  // namespace

std::string name_of_host() {
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    return host.data();
}

std::string name_of_process() {
    return name_of_host() + " (process " + std::to_string(::getpid()) + ")";
}

void runtime::impl::open_sealer() {
    const auto& s = loaded_.values.store;
    if (!s.encryption_key.empty()) {
        sealer_ = std::make_unique<crypto::sealer>(s.encryption_key);
    } else {
        auto key = store::load_or_make_encryption_key(s.data_dir);
        if (!key) throw std::runtime_error("the encryption key: " + key.error().context);
        if (key->made)
            log::event(log::level::warn, "encryption_key.made",
                       {{"file", own_key(loaded_.values)},
                        {"hint", "keep a copy: without it the stored upstream keys are lost"}});
        sealer_ = std::make_unique<crypto::sealer>(key->text);
    }
    wanted_key_ = sealer_->key_id();
    add_master_keys();
}

// Others that open: the one before, and what keywheel keeps itself.
void runtime::impl::add_master_keys() {
    const auto& s = loaded_.values.store;
    const auto known = sealer_->key_ids().size();
    if (!s.encryption_key.empty()) wanted_key_ = sealer_->add(s.encryption_key);
    if (!s.encryption_key_old.empty()) (void)sealer_->add(s.encryption_key_old);
    if (s.redis_url.empty()) {
        for (const std::string& file : {own_key(loaded_.values), next_key(loaded_.values)}) {
            if (modified_at(file) == 0) continue;
            if (auto key = store::load_encryption_key(file))
                (void)sealer_->add(*key);
            else
                log::event(log::level::warn, "encryption_key.unreadable",
                           {{"err", key.error().context}});
        }
    }
    // What did not open may open now.
    if (catalog_ && sealer_->key_ids().size() > known) catalog_->read_again();
}

result<void> runtime::impl::check_master_keys() const {
    return auth::check_master_keys(
        {[this](std::string_view kind, std::string_view id) { return catalog_->find(kind, id); },
         [this](std::string_view kind) { return catalog_->of_kind(kind); }},
        *sealer_);
}

// The key that the configuration names; else one that is made now and takes its place at the end.
result<std::string> runtime::impl::wanted_master_key() {
    const auto& s = loaded_.values.store;
    if (!s.encryption_key.empty()) return wanted_key_;
    auto made = store::make_encryption_key(next_key(loaded_.values));
    if (!made) return made.error();
    return sealer_->add(*made);
}

void runtime::impl::master_key_finished(const std::string& id) {
    const std::string next = next_key(loaded_.values);
    if (modified_at(next) == 0) return;
    const auto key = store::load_encryption_key(next);
    if (!key || crypto::sealer(*key).key_id() != id) return;
    if (auto moved = store::move_file(next, own_key(loaded_.values)); !moved) {
        log::event(log::level::error, "encryption_key.not_moved",
                   {{"file", next}, {"err", moved.error().context}});
        return;
    }
    log::event(log::level::warn, "encryption_key.replaced",
               {{"file", own_key(loaded_.values)},
                {"hint", "keep a copy: without it the stored upstream keys are lost"}});
}

void runtime::impl::make_resealer() {
    resealer_ = std::make_unique<jobs::resealer>(jobs::resealer::surroundings{
        .store = *store_,
        .known = *catalog_,
        .sealer = *sealer_,
        .clock = clock_,
        .random = random_,
        .name = name_of_process(),
        .wanted = [this] { return wanted_master_key(); },
        .finished = [this](const std::string& id) { master_key_finished(id); },
        .replicas = [this] { return admission_->health().replicas; }});
}

}  // namespace kw::app
