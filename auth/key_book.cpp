// Upkeep of the records, of their ends and of the table.
#include "auth/key_book.hpp"

namespace kw::auth {

namespace {

// Beyond these the table is made anew at less cost.
constexpr std::size_t most_changes = 20'000;

}  // namespace

void key_book::expect_end(const access_key_ptr& key, bool expected) {
    if (!key->expires_at || key->deleted || is_leased(*key)) return;
    const std::pair end(*key->expires_at, key.get());
    if (expected)
        ends_.insert(end);
    else
        ends_.erase(end);
}

result<void> key_book::take(const store::record& r) {
    auto read = access_key_from(r);
    if (!read) return read.error();
    common_.share(*read);
    if (!is_leased(*read)) apply_default(read->limits, default_limits_);
    put(std::make_shared<const access_key>(std::move(*read)));
    return {};
}

void key_book::set_default_limits(key_limits limits) {
    if (limits == default_limits_) return;
    default_limits_ = std::move(limits);
    std::vector<access_key_ptr> others;
    for (const auto& key : keys_) {
        key_limits now = key->limits;
        if (is_leased(*key) || !apply_default(now, default_limits_)) continue;
        access_key copy = *key;
        copy.limits = std::move(now);
        others.push_back(std::make_shared<const access_key>(std::move(copy)));
    }
    for (const auto& key : others)
        put(key);
}

void key_book::put(const access_key_ptr& key) {
    if (key->limits) limited_.push_back(key);
    expect_end(key, true);
    // Most come in the order of their ids.
    const bool last = keys_.empty() || (*keys_.rbegin())->id < key->id;
    const auto at = last ? keys_.end() : keys_.lower_bound(std::string_view(key->id));
    key_change change{.gone = {}, .come = key};
    if (at != keys_.end() && (*at)->id == key->id) {
        expect_end(*at, false);
        change.gone = (*at)->hash;
        keys_.insert(keys_.erase(at), key);
    } else {
        keys_.insert(at, key);
    }
    if (table_) changes_.push_back(std::move(change));
}

void key_book::drop(std::string_view id) {
    const auto at = keys_.find(id);
    if (at == keys_.end()) return;
    expect_end(*at, false);
    if (table_) changes_.push_back({.gone = (*at)->hash, .come = nullptr});
    keys_.erase(at);
}

void key_book::clear() {
    keys_.clear();
    ends_.clear();
    limited_.clear();
    changes_.clear();
    table_.reset();
}

const access_key* key_book::find(std::string_view id) const {
    const auto at = keys_.find(id);
    return at == keys_.end() ? nullptr : at->get();
}

std::shared_ptr<const key_table> key_book::table() {
    if (table_ && changes_.empty()) return table_;
    // Where two keys have one hash, a change alone does not tell which of them is found.
    const bool anew = !table_ || changes_.size() > most_changes;
    if (!anew) table_ = std::make_shared<const key_table>(table_->with(changes_));
    if (anew || table_->size() != keys_.size())
        table_ = std::make_shared<const key_table>(
            std::vector<access_key_ptr>(keys_.begin(), keys_.end()));
    changes_.clear();
    return table_;
}

std::vector<const access_key*> key_book::expired_between(wall_time from, wall_time to) const {
    std::vector<const access_key*> ended;
    for (auto at = ends_.lower_bound({from + wall_time::duration(1), nullptr});
         at != ends_.end() && at->first <= to; ++at)
        ended.push_back(at->second);
    return ended;
}

}  // namespace kw::auth
