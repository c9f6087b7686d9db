// The API as an OpenAPI 3.1 document, made from the table of routes: what is in the one is in the
// other. Bodies are described in words in the documentation; here they are objects.
#include <algorithm>
#include <map>

#include "admin/handlers.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

constexpr std::string_view id_part = "{id}";

struct refusal {
    std::string_view status;
    std::string_view what;
};
constexpr refusal refusals[] = {
    {"400", "a field, parameter or body that is unknown or wrong"},
    {"401", "no credential, or a wrong one"},
    {"403", "the role, the token's routes, the address or the page does not allow it"},
    {"404", "there is no such record"},
    {"409", "the record was changed meanwhile, or exists already"},
    {"413", "the body is larger than 8 MiB, or 32 for an import"},
    {"429", "too many wrong credentials from this address"},
    {"503", "the store cannot be reached"},
};

// "GET /admin/keys/{id}/test" is "get_keys_id_test".
std::string operation_id(const route_info& r) {
    std::string out;
    for (const char c : r.method)
        out += static_cast<char>(c - 'A' + 'a');
    for (const char c : r.path.substr(std::string_view("/admin").size())) {
        if (c == '{' || c == '}') continue;
        out += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '_';
    }
    return out;
}

// "/admin/keys/{id}" is "keys".
std::string_view tag_of(std::string_view path) {
    path.remove_prefix(std::string_view("/admin/").size());
    return path.substr(0, path.find('/'));
}

void write_parameters(json_writer& w, std::span<const query_param> params) {
    w.key("parameters").begin_array();
    for (const auto& p : params) {
        w.begin_object().field("name", p.name).field("in", "query").field("description", p.what);
        w.key("schema").begin_object();
        w.field("type", p.is == param_type::number ? "integer" : "string");
        if (p.is == param_type::time) w.field("format", "date-time");
        // A word's minus is no part of the list.
        if (!p.words.empty() && p.name != "sort") {
            w.key("enum").begin_array();
            for (auto rest = p.words; !rest.empty();) {
                const auto end = std::min(rest.find(','), rest.size());
                w.value(rest.substr(0, end));
                rest.remove_prefix(std::min(end + 1, rest.size()));
            }
            w.end_array();
        }
        if (p.name == "sort") {
            std::string pattern = "^-?(";
            for (const char c : p.words)
                pattern += c == ',' ? '|' : c;
            w.field("pattern", pattern + ")$");
        }
        w.end_object().end_object();
    }
    w.end_array();
}

void write_operation(json_writer& w, const route_info& r) {
    std::string method;
    for (const char c : r.method)
        method += static_cast<char>(c - 'A' + 'a');
    const bool one = r.path.find(id_part) != std::string_view::npos;
    const bool takes_body = r.method == "POST" || r.method == "PUT" || r.method == "PATCH" ||
                            r.path.ends_with("/batch");
    w.key(method).begin_object();
    w.field("operationId", operation_id(r)).field("summary", r.summary);
    w.field("x-keywheel-role", to_string(r.least));
    w.key("tags").begin_array().value(tag_of(r.path)).end_array();
    if (const auto params = query_params(r.method, r.path); !params.empty())
        write_parameters(w, params);
    if (r.open) w.key("security").begin_array().end_array();
    if (takes_body)
        w.key("requestBody")
            .raw(R"({"content":{"application/json":{"schema":{"type":"object"}}}})");
    w.key("responses").begin_object();
    w.key("2XX").raw(r.text     ? R"({"$ref":"#/components/responses/text"})"
                     : r.events ? R"({"$ref":"#/components/responses/events"})"
                                : R"({"$ref":"#/components/responses/data"})");
    for (const auto& [status, what] : refusals) {
        if (status == "404" && !one) continue;
        if (status == "409" && r.method == "GET") continue;
        if (status == "413" && !takes_body) continue;
        w.key(status).begin_object();
        w.field("$ref", "#/components/responses/" + std::string(status)).end_object();
    }
    w.end_object().end_object();
}

void write_components(json_writer& w) {
    w.begin_object();
    w.key("securitySchemes")
        .raw(R"({"admin_key":{"type":"apiKey","in":"header","name":"x-admin-key"},)"
             R"("bearer":{"type":"http","scheme":"bearer"},)"
             R"("session":{"type":"apiKey","in":"cookie","name":"kw_session"}})");
    w.key("schemas").raw(
        R"({"envelope":{"type":"object","required":["success","data"],"properties":{)"
        R"("success":{"const":true},"message":{"type":"string"},"data":{}}},)"
        R"("refusal":{"type":"object","required":["success","message","data"],"properties":{)"
        R"("success":{"const":false},"message":{"type":"string"},)"
        R"("data":{"type":"object","required":["code"],"properties":{)"
        R"("code":{"type":"string"},"revision":{"type":"integer"}}}}}})");
    w.key("responses").begin_object();
    w.key("data").raw(R"({"description":"done","content":{"application/json":{"schema":)"
                      R"({"$ref":"#/components/schemas/envelope"}}}})");
    w.key("text").raw(
        R"({"description":"done","content":{"text/plain":{"schema":{"type":"string"}}}})");
    w.key("events").raw(
        R"({"description":"goes on","content":{"text/event-stream":{"schema":{"type":"string"}}}})");
    for (const auto& [status, what] : refusals) {
        w.key(status).begin_object().field("description", what);
        w.key("content").raw(
            R"({"application/json":{"schema":{"$ref":"#/components/schemas/refusal"}}})");
        w.end_object();
    }
    w.end_object().end_object();
}

std::string document() {
    std::map<std::string_view, std::vector<route_info>> paths;
    for (const route& r : route_table())
        paths[r.info.path].push_back(r.info);
    std::string out;
    json_writer w(out);
    w.begin_object().field("openapi", "3.1.0");
    w.key("info")
        .begin_object()
        .field("title", "keywheel admin API")
        .field("version", KEYWHEEL_VERSION)
        .end_object();
    w.key("security").raw(R"([{"admin_key":[]},{"bearer":[]},{"session":[]}])");
    w.key("paths").begin_object();
    for (const auto& [path, operations] : paths) {
        w.key(path).begin_object();
        if (path.find(id_part) != std::string_view::npos)
            w.key("parameters")
                .raw(R"([{"name":"id","in":"path","required":true,"schema":{"type":"string"}}])");
        for (const auto& operation : operations)
            write_operation(w, operation);
        w.end_object();
    }
    w.end_object().key("components");
    write_components(w);
    w.end_object();
    return out;
}

}  // namespace

// Not in the envelope: what reads it wants the document alone.
result<reply> show_openapi(call& c) {
    if (const auto ok = c.query().finish(); !ok) return ok.error();
    reply out;
    out.body = document();
    return out;
}

}  // namespace kw::admin
