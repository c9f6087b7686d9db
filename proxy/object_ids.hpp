// Which requests are about objects that one upstream account keeps, and where the ids of such
// objects stand: in paths, in request bodies, in answers. Pure; any thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "usage/decoder.hpp"
#include "usage/late_work.hpp"

namespace kw::proxy {

// How long an object's account is worth knowing.
enum class object_keep : std::uint8_t { lasting, response, brief };

struct object_route {
    bool any = false;      // the path is of a family of objects
    bool creates = false;  // a POST to the collection: the answer's own id is a new one
    bool places = false;   // a new object that goes to its owner's home unless it refers to others
    bool lists = false;    // a GET of a collection that accounts have each a part of
    bool learns = false;   // the answer may name ids
    bool items = false;    // …and what they consist of, which requests name again
    bool refers = false;   // a JSON body may name ids
    object_keep keep = object_keep::lasting;
    std::string_view id;      // the object in the path; "" : none
    std::string_view object;  // the path as far as that id, or of the collection
    std::string_view base;    // the path before the collection
    bool gettable = true;     // an object of this family can be asked for by a GET
    // What the answer's object, or each of a list's, may tell that it costs by now.
    usage::late_kind late = usage::late_kind::none;
};

// path: as it came, without query.
[[nodiscard]] object_route route_objects(std::string_view method, std::string_view path) noexcept;

struct object_ref {
    std::string id;
    // Below the base path, to look for it: "/files/file-abc"; "" : it cannot be asked for.
    std::string place;
    bool firm = true;  // false: a hint, from which account the rest of the request is
};

// What an id is by its beginning.
struct id_kind {
    std::string_view prefix;
    std::string_view collection;  // "" : cannot be asked for by itself
    bool firm = true;
    object_keep keep = object_keep::lasting;
};
[[nodiscard]] const id_kind* kind_of(std::string_view id) noexcept;
// At most store::max_object_id characters of letters, digits, '-', '_', ':', '.'.
[[nodiscard]] bool is_object_id(std::string_view id) noexcept;

// Whether a body of chat or the like can name an id at all: a search of a few hundred nanoseconds.
[[nodiscard]] bool may_refer(std::string_view body) noexcept;
// Bodies of responses have more ways to.
[[nodiscard]] bool may_refer_to_state(std::string_view body) noexcept;
// The ids that a JSON body names, each once; at most `most`.
[[nodiscard]] std::vector<object_ref> find_refs(std::string_view body, std::size_t most);
// The calls of the realtime API that a second socket's URL names, behind those that are there; at
// most `most` in all.
void add_calls(const std::vector<std::string>& calls, std::size_t most,
               std::vector<object_ref>& to);

// Reads ids out of an answer while it passes, in pieces of any size. A few hundred bytes.
class id_reader {
  public:
    struct found {
        std::string id;
        bool made = false;  // the object that the answer is; else one that it names
    };

    // creates, items: of the route. events: a stream of them. encoding: the answer's, "" for none;
    // of one that cannot be decoded nothing is found.
    void start(bool creates, bool items, bool events = false, std::string_view encoding = {});
    // The body as it came, in any pieces.
    void feed(std::string_view body);
    // One server-sent event's data, whole.
    void on_event(std::string_view data);
    // The object that the answer is, told by its head.
    void note(std::string_view id);
    // What was found since the last call.
    [[nodiscard]] std::vector<found> take() noexcept { return std::exchange(found_, {}); }
    [[nodiscard]] bool has_found() const noexcept { return !found_.empty(); }
    // Reads the same answer, decoded; outlives what is fed.
    void share_with(usage::late_reader* other) noexcept { other_ = other; }

  private:
    friend std::vector<object_ref> find_refs(std::string_view body, std::size_t most);
    enum class place : std::uint8_t { structure, text, escape, hex };
    // What a key says of its value.
    enum class word : std::uint8_t { other, id, reference, response, metadata };
    struct level {
        word key = word::other;
        bool array = false;
        bool muted = false;
    };
    static constexpr std::size_t max_levels = 48;
    static constexpr std::size_t max_found = 64;

    void reset() noexcept;
    void read(std::string_view json);
    void end_text();
    void keep(std::string_view piece);
    [[nodiscard]] level& top() noexcept { return levels_[std::min(depth_, max_levels) - 1]; }
    void value(word key, std::string_view text);
    static word word_of(std::string_view key) noexcept;

    bool creates_ = false;
    bool items_ = false;
    bool request_ = false;
    place in_ = place::structure;
    bool value_next_ = false;
    bool long_ = false;
    bool events_ = false;
    std::uint8_t hex_left_ = 0;
    unsigned hex_ = 0;
    std::size_t depth_ = 0;
    word name_ = word::other;
    std::array<level, max_levels> levels_{};
    std::string text_;
    std::vector<found> found_;
    usage::decoder decoder_;
    usage::late_reader* other_ = nullptr;
};

}  // namespace kw::proxy
