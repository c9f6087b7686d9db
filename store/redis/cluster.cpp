// Slots, and what CLUSTER SLOTS and redirections say.
#include "store/redis/cluster.hpp"

#include <algorithm>
#include <charconv>

namespace kw::store::redis {
namespace {

error away(std::string why) {
    return error(errc::store_unavailable, std::move(why), error_source::store);
}

// CRC-16/XMODEM, a bit at a time: in a Cluster alone, of a few bytes of a tag.
std::uint16_t crc16(std::string_view bytes) noexcept {
    std::uint32_t crc = 0;
    for (const char c : bytes) {
        crc ^= static_cast<std::uint32_t>(static_cast<unsigned char>(c)) << 8U;
        for (int i = 0; i < 8; ++i)
            crc = (crc & 0x8000U) != 0 ? (crc << 1U) ^ 0x1021U : crc << 1U;
    }
    return static_cast<std::uint16_t>(crc & 0xffffU);
}

std::uint16_t index_of(std::vector<place>& all, const place& one) {
    const auto at = std::ranges::find(all, one);
    if (at != all.end()) return static_cast<std::uint16_t>(at - all.begin());
    all.push_back(one);
    return static_cast<std::uint16_t>(all.size() - 1);
}

}  // namespace

std::uint16_t slot_of(std::string_view key) noexcept {
    if (const auto open = key.find('{'); open != std::string_view::npos) {
        const auto close = key.find('}', open + 1);
        if (close != std::string_view::npos && close > open + 1)
            key = key.substr(open + 1, close - open - 1);
    }
    return crc16(key) % cluster_slots;
}

std::optional<redirection> read_redirection(std::string_view text) {
    redirection out;
    if (text.starts_with("ASK "))
        out.ask = true;
    else if (!text.starts_with("MOVED "))
        return std::nullopt;
    text.remove_prefix(text.find(' ') + 1);
    const auto* const end = text.data() + text.size();
    const auto [at, ec] = std::from_chars(text.data(), end, out.slot);
    if (ec != std::errc() || at == end || *at != ' ' || out.slot >= cluster_slots)
        return std::nullopt;
    auto to = parse_place({at + 1, end});
    if (!to) return std::nullopt;
    out.to = std::move(*to);
    if (out.to.host == "?") out.to.host.clear();  // a node that does not know its own name
    return out;
}

std::shared_ptr<const cluster_map::view> cluster_map::now() const {
    const std::lock_guard lock(mutex_);
    return view_;
}

void cluster_map::moved(std::uint16_t slot, const place& to) {
    const std::lock_guard lock(mutex_);
    if (!view_) return;
    if (const auto* held = view_->at(slot); held != nullptr && *held == to) return;
    auto next = std::make_shared<view>(*view_);
    next->owner[slot] = index_of(next->masters, to);
    view_ = std::move(next);
}

result<cluster_map::view> cluster_map::read(const reply& told, const place& asked) {
    if (told.is_error())
        return away(asked.name() + ": " + told.text +
                    (told.text.find("cluster support disabled") == std::string::npos
                         ? ""
                         : ": it is not of a Cluster, see store.redis_mode"));
    view out;
    for (const auto& range : told.items) {
        if (range.items.size() < 3 || range.items[2].items.size() < 2) continue;
        const auto& node = range.items[2].items;
        const auto first = range.items[0].as_number();
        const auto last = range.items[1].as_number();
        if (first < 0 || last < first || last >= std::int64_t{cluster_slots}) continue;
        // A node that does not know how it is reached is reached as it was.
        const bool named =
            node[0].is == reply::kind::text && !node[0].text.empty() && node[0].text != "?";
        const auto index = index_of(
            out.masters, {named ? node[0].text : asked.host, std::to_string(node[1].as_number())});
        std::fill(out.owner.begin() + first, out.owner.begin() + last + 1, index);
    }
    if (out.masters.empty()) return away(asked.name() + " knows of no slots of the Cluster");
    return out;
}

result<std::shared_ptr<const cluster_map::view>> cluster_map::refresh(const target& of,
                                                                      deadline until) {
    auto nodes = of.seeds;
    std::size_t first = 0;
    {
        const std::lock_guard lock(mutex_);
        if (view_) nodes.insert(nodes.end(), view_->masters.begin(), view_->masters.end());
        first = first_++;
    }
    std::ranges::sort(nodes);
    nodes.erase(std::ranges::unique(nodes).begin(), nodes.end());
    pipeline question;
    question.add({"CLUSTER", "SLOTS"});
    auto last = away("no node of the Cluster is named");
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        const auto now = std::chrono::steady_clock::now();
        const auto share = now + (until - now) / static_cast<int>(nodes.size() - i);
        const auto& node = nodes[(first + i) % nodes.size()];
        connection ask;
        if (auto opened = ask.open(of.server(node), share); !opened) {
            last = opened.error();
            continue;
        }
        const auto answers = ask.exchange(question, share);
        if (!answers) {
            last = answers.error();
            continue;
        }
        auto told = read(answers->front(), node);
        if (!told) {
            last = told.error();
            continue;
        }
        auto made = std::make_shared<const view>(std::move(*told));
        const std::lock_guard lock(mutex_);
        view_ = made;
        return made;
    }
    return last;
}

}  // namespace kw::store::redis
