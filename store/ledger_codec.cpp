// The format: version byte, then every field in a fixed order. Integers are zigzag varints, texts
// are a varint length and bytes. A later version adds fields at the end.
#include "store/ledger_codec.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace kw::store {
namespace {

constexpr unsigned version = 1;

constexpr std::size_t max_id = 96;     // ours: ids of records, keys and groups
constexpr std::size_t max_name = 256;  // model names
constexpr std::size_t max_word = 64;   // provider, endpoint, tier, error code

static_assert(1 + 4 * (max_id + 2) + 2 * (max_name + 2) + 4 * (max_word + 2) + 24 * 10 + 8 <
              max_encoded_record);

// Writes into memory that the caller has made large enough.
struct writer {
    char* at;

    void byte(unsigned b) noexcept { *at++ = static_cast<char>(b); }
    void number(std::uint64_t n) noexcept {
        for (; n >= 0x80; n >>= 7U)
            byte(static_cast<unsigned>(n | 0x80U) & 0xFFU);
        byte(static_cast<unsigned>(n));
    }
    void signed_number(std::int64_t n) noexcept {
        number((static_cast<std::uint64_t>(n) << 1U) ^ static_cast<std::uint64_t>(n >> 63));
    }
    void text(std::string_view s, std::size_t limit) noexcept {
        if (s.size() > limit) {
            std::size_t n = limit;
            while (n > 0 && (static_cast<unsigned char>(s[n]) & 0xC0U) == 0x80U)
                --n;
            s = s.substr(0, n);
        }
        number(s.size());
        at = std::copy_n(s.data(), s.size(), at);
    }
    void amount(const std::optional<nanodollars>& a) noexcept {
        byte(a ? 1 : 0);
        if (a) signed_number(*a);
    }
};

// Reads on until the first fault, then gives zeros; asked once at the end whether all was well.
class reader {
  public:
    explicit reader(std::string_view bytes) noexcept : bytes_(bytes) {}

    std::uint8_t byte() {
        if (bytes_.empty()) {
            failed_ = true;
            return 0;
        }
        const auto b = static_cast<std::uint8_t>(bytes_.front());
        bytes_.remove_prefix(1);
        return b;
    }
    std::uint64_t number() {
        if (!bytes_.empty() && static_cast<std::uint8_t>(bytes_.front()) < 0x80) return byte();
        std::uint64_t n = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            const std::uint8_t b = byte();
            if (shift == 63 && b > 1) break;
            n |= static_cast<std::uint64_t>(b & 0x7FU) << shift;
            if (b < 0x80) return n;
        }
        failed_ = true;
        return 0;
    }
    std::int64_t signed_number() {
        const std::uint64_t n = number();
        return static_cast<std::int64_t>((n >> 1U) ^ (~(n & 1U) + 1U));
    }
    std::string_view view() {
        const std::uint64_t n = number();
        if (n > bytes_.size()) {
            failed_ = true;
            return {};
        }
        const auto s = bytes_.substr(0, static_cast<std::size_t>(n));
        bytes_.remove_prefix(static_cast<std::size_t>(n));
        return s;
    }
    std::optional<nanodollars> amount() {
        const std::uint8_t there = byte();
        if (there > 1) failed_ = true;
        if (there != 1) return std::nullopt;
        return signed_number();
    }
    template <class Enum>
    Enum choice(Enum last) {
        const std::uint8_t b = byte();
        if (b > static_cast<std::uint8_t>(last)) failed_ = true;
        return static_cast<Enum>(b);
    }
    std::uint16_t small() {
        const std::uint64_t n = number();
        if (n > 0xFFFF) failed_ = true;
        return static_cast<std::uint16_t>(n);
    }
    [[nodiscard]] bool failed() const noexcept { return failed_; }
    [[nodiscard]] bool good() const noexcept { return !failed_ && bytes_.empty(); }

  private:
    std::string_view bytes_;
    bool failed_ = false;
};

template <class Tokens, class Each>
void each_count(Tokens& t, Each&& each) {
    each(t.input);
    each(t.output);
    each(t.reasoning);
    each(t.cached_read);
    each(t.cache_write_5m);
    each(t.cache_write_1h);
    each(t.audio_in);
    each(t.audio_out);
    each(t.image_in);
    each(t.image_out);
}

template <class Text>
std::optional<basic_ledger_record<Text>> read_record(std::string_view bytes) {
    reader in(bytes);
    if (in.byte() != static_cast<std::uint8_t>(version)) return std::nullopt;
    std::optional<basic_ledger_record<Text>> out(std::in_place);
    auto& r = *out;
    r.id = in.view();
    r.started = wall_time(std::chrono::nanoseconds(in.signed_number()));
    r.access_key_id = in.view();
    r.upstream_key_id = in.view();
    r.group_id = in.view();
    r.provider = in.view();
    r.endpoint = in.view();
    r.model_asked = in.view();
    r.model_served = in.view();
    r.service_tier = in.view();
    each_count(r.tokens, [&](std::int64_t& n) { n = in.signed_number(); });
    r.outcome = in.choice(usage_outcome::none);
    r.end = in.choice(exchange_end::failed);
    r.cost = in.amount();
    r.rated_cost = in.amount();
    r.status = in.small();
    r.attempts = in.small();
    r.stream = in.byte() != 0;
    r.error_code = in.view();
    r.first_byte_us = in.signed_number();
    r.total_us = in.signed_number();
    r.overhead_us = in.signed_number();
    r.bytes_in = in.signed_number();
    r.bytes_out = in.signed_number();
    r.operator_cost = in.byte() != 0;
    if (!in.good()) out.reset();
    return out;
}

}  // namespace

void encode(const ledger_record& r, std::string& out) {
    std::array<char, max_encoded_record> bytes;
    writer to{bytes.data()};
    to.byte(version);
    to.text(r.id, max_id);
    to.signed_number(r.started.time_since_epoch().count());
    to.text(r.access_key_id, max_id);
    to.text(r.upstream_key_id, max_id);
    to.text(r.group_id, max_id);
    to.text(r.provider, max_word);
    to.text(r.endpoint, max_word);
    to.text(r.model_asked, max_name);
    to.text(r.model_served, max_name);
    to.text(r.service_tier, max_word);
    each_count(r.tokens, [&](std::int64_t n) { to.signed_number(n); });
    to.byte(static_cast<unsigned>(r.outcome));
    to.byte(static_cast<unsigned>(r.end));
    to.amount(r.cost);
    to.amount(r.rated_cost);
    to.number(r.status);
    to.number(r.attempts);
    to.byte(r.stream ? 1 : 0);
    to.text(r.error_code, max_word);
    to.signed_number(r.first_byte_us);
    to.signed_number(r.total_us);
    to.signed_number(r.overhead_us);
    to.signed_number(r.bytes_in);
    to.signed_number(r.bytes_out);
    to.byte(r.operator_cost ? 1 : 0);
    out.append(bytes.data(), static_cast<std::size_t>(to.at - bytes.data()));
}

std::optional<record_names> peek(std::string_view bytes) noexcept {
    reader in(bytes);
    if (in.byte() != static_cast<std::uint8_t>(version)) return std::nullopt;
    record_names names;
    names.id = in.view();
    static_cast<void>(in.signed_number());  // started
    names.access_key_id = in.view();
    if (in.failed()) return std::nullopt;
    return names;
}

std::optional<ledger_record> decode(std::string_view bytes) {
    return read_record<std::string>(bytes);
}

std::optional<ledger_record_view> decode_view(std::string_view bytes) noexcept {
    return read_record<std::string_view>(bytes);
}

}  // namespace kw::store
