// Answers in the envelope, revisions, and the checks that several handlers share.
#include "admin/call.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "config/base_url.hpp"
#include "config/settings.hpp"
#include "core/json_writer.hpp"
#include "store/store.hpp"

namespace kw::admin {

reply answer(std::string_view data, std::optional<std::uint64_t> revision, std::uint16_t status) {
    reply out;
    out.status = status;
    json_writer(out.body).begin_object().field("success", true).key("data").raw(data).end_object();
    if (revision) out.headers.emplace_back("ETag", '"' + std::to_string(*revision) + '"');
    return out;
}

namespace {

reply refusal(std::uint16_t status, std::string_view code, std::string_view message,
              std::optional<std::uint64_t> revision) {
    reply out;
    out.status = status;
    json_writer w(out.body);
    w.begin_object().field("success", false).field("message", message).key("data").begin_object();
    w.field("code", code);
    if (revision) w.field("revision", *revision);
    w.end_object().end_object();
    return out;
}

}  // namespace

reply refuse(std::uint16_t status, std::string_view code, std::string_view message) {
    return refusal(status, code, message, std::nullopt);
}

reply refuse(const error& e) {
    std::uint16_t status = 500;
    std::string_view message = e.context;
    switch (e.code) {
        case errc::invalid_argument:
            status = 400;
            break;
        case errc::store_not_found:
            status = 404;
            message = "there is no such record";
            break;
        case errc::store_conflict:
            status = 409;
            break;
        case errc::store_unavailable:
            status = 503;
            if (message.empty()) message = "the store cannot be reached";
            break;
        default:
            break;
    }
    return refuse(status, to_string(e.code), message);
}

reply conflict(std::uint64_t current) {
    return refusal(409, to_string(errc::store_conflict),
                   "the record was changed meanwhile: read it again", current);
}

result<bool> is_stale(const call& c, body_fields* body, std::uint64_t stored) {
    auto named = body == nullptr ? std::nullopt : body->whole("revision");
    std::string_view tag = c.request.if_match;
    if (!tag.empty() && tag != "*") {
        if (tag.starts_with("W/")) tag.remove_prefix(2);
        if (tag.size() >= 2 && tag.front() == '"' && tag.back() == '"')
            tag = tag.substr(1, tag.size() - 2);
        std::uint64_t value = 0;
        const auto [end, failed] = std::from_chars(tag.data(), tag.data() + tag.size(), value);
        if (failed != std::errc() || end != tag.data() + tag.size())
            return error(errc::invalid_argument, "If-Match must be the revision of a record");
        if (value != stored) return true;
    }
    return named.has_value() && *named != stored;
}

result<boost::json::object> call::body() const {
    return parse_object(request.body);
}

result<std::uint64_t> write(call& c, const store::record& r, std::optional<reply>& refused) {
    std::uint64_t current = 0;
    auto revision = c.services.store.put(r, &current);
    if (!revision && revision.error().code == errc::store_conflict) refused = conflict(current);
    return revision;
}

result<std::string> checked_base_url(const call& c, const std::string& text) {
    const auto url = config::parse_base_url(text);
    if (!url) return bad_field("base_url", url.error().context);
    if (config::is_link_local(url->host) && !c.services.settings()->upstream.allow_link_local) {
        return bad_field("base_url",
                         "is a link-local or metadata address: set upstream.allow_link_local if "
                         "that is meant");
    }
    return url->to_string();
}

}  // namespace kw::admin
