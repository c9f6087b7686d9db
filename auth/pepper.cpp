// The pepper's record: {"sealed": "kw1.…"}, bound to its id as associated data.
#include "auth/pepper.hpp"

#include <array>
#include <boost/json.hpp>
#include <cstdint>

#include "core/json_writer.hpp"

namespace kw::auth {

secret make_pepper() {
    std::array<std::uint8_t, 32> bytes;
    crypto::random_bytes(bytes);
    return secret(crypto::to_base64url(bytes));
}

namespace {

constexpr std::string_view other_prefix = "access_key_pepper.";

store::record seal_as(std::string id, const secret& pepper, const crypto::sealer& sealer) {
    store::record record{
        .kind = std::string(pepper_kind), .id = std::move(id), .revision = 0, .json = {}};
    json_writer(record.json)
        .begin_object()
        .field("sealed", sealer.seal(pepper, record.id))
        .end_object();
    return record;
}

}  // namespace

store::record seal_pepper(const secret& pepper, const crypto::sealer& sealer) {
    return seal_as(std::string(pepper_id), pepper, sealer);
}

store::record seal_other_pepper(const secret& pepper, const crypto::sealer& sealer) {
    const auto digest = crypto::sha256(pepper.reveal());
    return seal_as(std::string(other_prefix) + crypto::to_hex(std::span(digest).first(8)), pepper,
                   sealer);
}

bool is_other_pepper(const store::record& record) noexcept {
    return record.kind == pepper_kind && record.id.starts_with(other_prefix);
}

result<secret> open_pepper(const store::record& record, const crypto::sealer& sealer) {
    const auto refused = [](const char* why) {
        return error(errc::invalid_argument, std::string("access key pepper: ") + why);
    };
    if (record.kind != pepper_kind || (record.id != pepper_id && !is_other_pepper(record)))
        return refused("not the record that holds it");
    boost::system::error_code ec;
    const boost::json::value parsed = boost::json::parse(record.json, ec);
    const auto* object = ec ? nullptr : parsed.if_object();
    const auto* sealed = object != nullptr ? object->if_contains("sealed") : nullptr;
    if (sealed == nullptr || !sealed->is_string()) return refused("no sealed text in its record");
    const auto& text = sealed->get_string();
    auto opened = sealer.open({text.data(), text.size()}, record.id);
    if (!opened) return refused("sealed with another master key, or tampered with");
    if (opened->size() < 32) return refused("too short");
    return opened;
}

}  // namespace kw::auth
