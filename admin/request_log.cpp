// The request log: single exchanges, as JSON or as a table for a spreadsheet.
#include "admin/handlers.hpp"
#include "admin/listing.hpp"
#include "core/json_writer.hpp"
#include "store/paging.hpp"
#include "store/record_json.hpp"
#include "store/store.hpp"

namespace kw::admin {
namespace {

constexpr std::size_t max_rows = 10'000;  // of one answer as CSV, about 3 MiB

void write_record(json_writer& w, const store::ledger_record& r) {
    w.begin_object().field("id", r.id);
    write_time(w, "started", r.started);
    store::write_facts(w, r);
    write_tokens(w, "tokens", r.tokens);
    write_money(w, "cost", r.cost);
    write_money(w, "rated_cost", r.rated_cost);
    w.field("first_byte_us", r.first_byte_us)
        .field("total_us", r.total_us)
        .field("overhead_us", r.overhead_us)
        .field("bytes_in", r.bytes_in)
        .field("bytes_out", r.bytes_out)
        .end_object();
}

// The record of that id, or none; the other filters hold for it too.
result<store::page<store::ledger_record>> one_record(const call& c, const std::string& id,
                                                     const store::record_filter& filter) {
    store::page<store::ledger_record> out;
    auto found = c.services.store.find_record(id);
    if (!found && found.error().code != errc::store_not_found) return found.error();
    if (found && store::matches(filter, *found) && found->started >= filter.from &&
        found->started < filter.to)
        out.items.push_back(std::move(*found));
    return out;
}

// One line of a table (RFC 4180).
class csv_line {
  public:
    explicit csv_line(std::string& out) : out_(out) {}

    // What clients chose is among these texts: a spreadsheet must not take one for a formula.
    void text(std::string_view value) {
        next();
        const bool formula =
            !value.empty() && std::string_view("=+-@\t\r").find(value[0]) != std::string_view::npos;
        if (!formula && value.find_first_of("\",\r\n") == std::string_view::npos) {
            out_ += value;
            return;
        }
        out_ += '"';
        if (formula) out_ += '\'';
        for (const char c : value) {
            if (c == '"') out_ += '"';
            out_ += c;
        }
        out_ += '"';
    }
    void number(std::int64_t value) {
        next();
        out_ += std::to_string(value);
    }
    // In dollars; nothing where it is not known.
    void money(std::optional<nanodollars> value) {
        next();
        if (value) out_ += format_dollars(*value);
    }
    void end() { out_ += "\r\n"; }

  private:
    void next() {
        if (!first_) out_ += ',';
        first_ = false;
    }
    std::string& out_;
    bool first_ = true;
};

reply as_csv(const store::page<store::ledger_record>& page) {
    reply out;
    out.body =
        "id,started,access_key,upstream_key,group,provider,endpoint,model_asked,model_served,"
        "status,attempts,stream,end,error_code,usage,input_tokens,output_tokens,reasoning_tokens,"
        "cached_tokens,cost,rated_cost,operator_cost,first_byte_us,total_us,overhead_us,bytes_in,"
        "bytes_out\r\n";
    for (const auto& r : page.items) {
        csv_line line(out.body);
        line.text(r.id);
        line.text(format_time(r.started));
        for (const auto* text : {&r.access_key_id, &r.upstream_key_id, &r.group_id, &r.provider,
                                 &r.endpoint, &r.model_asked, &r.model_served})
            line.text(*text);
        line.number(r.status);
        line.number(r.attempts);
        line.text(r.stream ? "true" : "false");
        line.text(to_string(r.end));
        line.text(r.error_code);
        line.text(to_string(r.outcome));
        for (const auto n :
             {r.tokens.input, r.tokens.output, r.tokens.reasoning, r.tokens.cached_read})
            line.number(n);
        line.money(r.cost);
        line.money(r.rated_cost);
        line.text(r.operator_cost ? "true" : "false");
        for (const auto n : {r.first_byte_us, r.total_us, r.overhead_us, r.bytes_in, r.bytes_out})
            line.number(n);
        line.end();
    }
    out.content_type = "text/csv; charset=utf-8";
    out.headers.emplace_back("Content-Disposition",
                             "attachment; filename=\"keywheel-requests.csv\"");
    // A cursor of the log has nothing in it that a header could not hold.
    if (!page.next.empty()) out.headers.emplace_back("x-keywheel-next", page.next);
    return out;
}

}  // namespace

result<reply> list_requests(call& c) {
    auto q = c.query();
    store::record_filter filter;
    filter.access_key_id = q.text("access_key");
    filter.upstream_key_id = q.text("upstream_key");
    filter.model = q.text("model");
    filter.status_from = static_cast<std::uint16_t>(q.number("status_from", 0, 0, 999));
    filter.status_to = static_cast<std::uint16_t>(q.number("status_to", 999, 0, 999));
    filter.from = q.time("from").value_or(wall_time{});
    filter.to = q.time("to").value_or(wall_time::max());
    if (const auto status = q.number("status", 0, 0, 999); status > 0)
        filter.status_from = filter.status_to = static_cast<std::uint16_t>(status);
    const auto id = q.text("request_id");
    const bool csv = q.choice("format", {"json", "csv"}, 0) == 1;
    const auto list = read_log(q, "-started", csv ? 1'000 : 20, csv ? max_rows : 1'000);
    if (const auto ok = q.finish(); !ok) return ok.error();

    using row = store::ledger_record;
    const auto wanted = [&](const row& r) {
        if (list.text.empty() ||
            list.finds({r.id, r.access_key_id, r.upstream_key_id, r.group_id, r.provider,
                        r.endpoint, r.model_asked, r.model_served, r.error_code}))
            return true;
        const auto* key = c.records.access_key(r.access_key_id);
        return key != nullptr && list.finds({key->name});
    };
    const auto page = log_page<row>(
        list, !list.text.empty(),
        [&](const store::page_request& at) {
            filter.page = at;
            return id ? one_record(c, *id, filter) : c.services.store.list_records(filter);
        },
        wanted, column{"id", &row::id}, column{"started", &row::started},
        column{"status", &row::status},
        column{"tokens", [](const row& r) { return r.tokens.total(); }}, column{"cost", &row::cost},
        column{"total_us", &row::total_us}, column{"first_byte_us", &row::first_byte_us},
        column{"bytes_in", &row::bytes_in}, column{"bytes_out", &row::bytes_out});
    if (!page) return page.error();
    if (csv) return as_csv(*page);
    std::string data;
    json_writer w(data);
    w.begin_object().key("requests").begin_array();
    for (const auto& r : page->items)
        write_record(w, r);
    w.end_array();
    write_next(w, list.limit, page->next);
    w.end_object();
    return answer(data);
}

result<reply> show_request(call& c) {
    const auto record = c.services.store.find_record(c.id);
    if (!record) return record.error();
    std::string data;
    json_writer w(data);
    write_record(w, *record);
    return answer(data);
}

}  // namespace kw::admin
