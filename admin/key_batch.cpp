// Adding many upstream keys at once. The text of a key never comes back, not even of a bad one.
#include <boost/json.hpp>
#include <set>

#include "admin/handlers.hpp"
#include "admin/key_edit.hpp"
#include "core/crypto.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

constexpr std::size_t max_keys = 20'000;   // of one call
constexpr std::size_t max_errors = 1'000;  // told one by one; all are counted

struct candidate {
    std::size_t index;  // in `keys`, or the line in `text`, both from 0
    std::string_view text;
};

// Views into the body.
result<std::vector<candidate>> candidates(body_fields& in) {
    const auto* keys = in.take("keys");
    const auto* text = in.take("text");
    if ((keys == nullptr) == (text == nullptr))
        return error(errc::invalid_argument, "give either \"keys\" or \"text\"");
    std::vector<candidate> out;
    if (keys != nullptr) {
        if (!keys->is_array()) return bad_field("keys", "must be a list of texts");
        for (const auto& key : keys->get_array()) {
            // What is no text is counted as a bad key, like an empty one.
            const auto* s = key.if_string();
            out.push_back({out.size(), s == nullptr ? std::string_view() : std::string_view(*s)});
        }
        return out;
    }
    if (!text->is_string()) return bad_field("text", "must be a text, one key a line");
    std::string_view rest = text->get_string();
    for (std::size_t line = 0; !rest.empty(); ++line) {
        const auto end = std::min(rest.find('\n'), rest.size());
        auto key = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        while (!key.empty() && (key.back() == '\r' || key.back() == ' ' || key.back() == '\t'))
            key.remove_suffix(1);
        while (!key.empty() && (key.front() == ' ' || key.front() == '\t'))
            key.remove_prefix(1);
        if (!key.empty()) out.push_back({line, key});
    }
    return out;
}

struct outcome {
    std::size_t added = 0;
    std::size_t duplicate = 0;
    std::size_t invalid = 0;
    std::vector<std::pair<std::size_t, std::string_view>> errors;

    void refused(std::size_t index, std::string_view reason) {
        if (errors.size() < max_errors) errors.emplace_back(index, reason);
    }
    [[nodiscard]] std::string json() const {
        std::string out;
        json_writer w(out);
        w.begin_object()
            .field("added", added)
            .field("duplicate", duplicate)
            .field("invalid", invalid);
        w.key("errors").begin_array();
        for (const auto& [index, reason] : errors)
            w.begin_object().field("index", index).field("reason", reason).end_object();
        w.end_array().end_object();
        return out;
    }
};

}  // namespace

result<reply> add_keys(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto keys = candidates(in);
    const auto group = group_named(in).value_or(std::string(default_group));
    const auto notes = in.text("notes", 1000).value_or("");
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!keys) return keys.error();
    if (keys->size() > max_keys)
        return error(errc::invalid_argument,
                     "more than " + std::to_string(max_keys) + " keys in one call");
    if (const auto ok = need_group(c, group); !ok) return ok.error();

    outcome done;
    std::set<crypto::digest> seen;
    std::vector<store::change> writes;
    for (const auto& [index, text] : *keys) {
        if (!usable_value(text)) {
            ++done.invalid;
            done.refused(index, "not 8 to 512 visible ASCII characters");
            continue;
        }
        secret value{std::string(text)};
        const auto print = c.records.fingerprint(value);
        if (!seen.insert(print).second || !c.records.key_with(group, print).empty()) {
            ++done.duplicate;
            done.refused(index, "duplicate");
            continue;
        }
        auto key = new_key(c, group);
        key.notes = notes;
        key.value = std::move(value);
        writes.push_back(
            {{std::string(key_kind), key.id, 0, pool::to_json(key, c.services.sealer)}, false});
    }
    std::optional<error> failed;
    for (const auto& written : c.services.store.write_all(writes)) {
        if (written)
            ++done.added;
        else
            failed = written.error();
    }
    if (!failed) return answer(done.json());
    // What was added stays; the same call again adds the rest.
    auto out = refuse(*failed);
    json_writer w(out.body = {});
    w.begin_object()
        .field("success", false)
        .field("message", "the store failed on the way: send the same again")
        .key("data")
        .raw(done.json())
        .end_object();
    return out;
}

}  // namespace kw::admin
