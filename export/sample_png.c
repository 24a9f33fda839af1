/* Draws one PNG from an exported generator through TensorFlow's C API, without Python.
 *
 *   sample_png EXPORT_DIR SEED OUT.png     writes the sample of seed [SEED, 0]
 *   sample_png --signatures EXPORT_DIR     lists what the export can be asked
 *
 * EXPORT_DIR is a version folder, such as runs/smmd_digits/export/smmd_digits/1. Build it with
 * `sh export/build.sh`. It loads the folder as TensorFlow Serving does, with the tag "serve", and
 * finds the tensors of a signature in the MetaGraphDef that comes with the session. The wire format
 * of protocol buffers is simple enough to be read here:
 * https://protobuf.dev/programming-guides/encoding
 *
 * Exit code 0: done; 1: TensorFlow or the disk failed; 2: wrong arguments, or no such export.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

enum { DONE = 0, FAILED = 1, WRONG_REQUEST = 2 };
enum { LONGEST_NAME = 512, LONGEST_PATH = 4096 };

/* --- Protocol buffers: a message is a run of (field number, value) ---------------------------- */

typedef struct {
  const unsigned char *at, *end;
} Bytes;

typedef struct {
  uint64_t number;
  uint64_t value; /* of a varint field */
  Bytes bytes;    /* of a string or message field */
} Field;

/* Field numbers, from TensorFlow's meta_graph.proto and tensor_shape.proto. */
enum {
  META_GRAPH_SIGNATURES = 5, /* map: signature name -> SignatureDef */
  SIGNATURE_INPUTS = 1,      /* map: request key -> TensorInfo */
  SIGNATURE_OUTPUTS = 2,     /* map: response key -> TensorInfo */
  TENSOR_NAME = 1,
  TENSOR_DTYPE = 2,
  TENSOR_SHAPE = 3,
  SHAPE_DIM = 2,
  DIM_SIZE = 1,
  MAP_KEY = 1,
  MAP_VALUE = 2
};

static int read_varint(Bytes *from, uint64_t *value) {
  *value = 0;
  for (int shift = 0; shift < 64 && from->at < from->end; shift += 7) {
    unsigned char byte = *from->at++;
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return 1;
  }
  return 0;
}

/* Reads the next field and moves on; returns 0 at the end, or where the message is broken. */
static int next_field(Bytes *message, Field *field) {
  uint64_t tag, length;
  if (!read_varint(message, &tag)) return 0;
  field->number = tag >> 3;
  field->value = 0;
  field->bytes.at = field->bytes.end = message->at;
  switch (tag & 7) {
    case 0:
      return read_varint(message, &field->value);
    case 1:
      length = 8;
      break;
    case 2:
      if (!read_varint(message, &length)) return 0;
      break;
    case 5:
      length = 4;
      break;
    default:
      return 0;
  }
  if (length > (uint64_t)(message->end - message->at)) return 0;
  field->bytes.at = message->at;
  field->bytes.end = message->at += length;
  return 1;
}

/* Finds the first field of that number. */
static int find_field(Bytes message, uint64_t number, Field *field) {
  while (next_field(&message, field))
    if (field->number == number) return 1;
  return 0;
}

/* Finds the next entry of a map field and moves on. */
static int next_entry(Bytes *message, uint64_t number, Bytes *key, Bytes *value) {
  Field entry, part;
  while (next_field(message, &entry)) {
    if (entry.number != number) continue;
    if (!find_field(entry.bytes, MAP_KEY, &part)) continue;
    *key = part.bytes;
    if (!find_field(entry.bytes, MAP_VALUE, &part)) continue;
    *value = part.bytes;
    return 1;
  }
  return 0;
}

static int find_entry(Bytes message, uint64_t number, const char *name, Bytes *value) {
  Bytes key;
  while (next_entry(&message, number, &key, value))
    if ((size_t)(key.end - key.at) == strlen(name) && !memcmp(key.at, name, strlen(name))) return 1;
  return 0;
}

/* --- The export ------------------------------------------------------------------------------- */

typedef struct {
  TF_Status *status;
  TF_Graph *graph;
  TF_Buffer *meta_graph;
  TF_Session *session;
} Export;

static int complain(int code, const char *what, const char *subject, const char *remedy) {
  fprintf(stderr, "sample_png: %s '%s'%s%s.\n", what, subject, *remedy ? "; " : "", remedy);
  return code;
}

/* Complains with the first line of TensorFlow's message, which can be long. */
static int complain_status(const char *what, const TF_Status *status) {
  char message[LONGEST_NAME];
  snprintf(message, sizeof message, "%s", TF_Message(status));
  message[strcspn(message, "\n")] = 0;
  return complain(FAILED, what, message, "");
}

static int complain_disk(const char *path, int reason) {
  fprintf(stderr, "sample_png: cannot write '%s': %s.\n", path, strerror(reason));
  return FAILED;
}

static Bytes meta_graph(const Export *export) {
  const unsigned char *start = export->meta_graph->data;
  Bytes bytes = {start, start + export->meta_graph->length};
  return bytes;
}

static void close_export(Export *export) {
  if (export->session) {
    TF_CloseSession(export->session, export->status);
    TF_DeleteSession(export->session, export->status);
  }
  TF_DeleteBuffer(export->meta_graph);
  TF_DeleteGraph(export->graph);
  TF_DeleteStatus(export->status);
}

/* Fills `export`, which is to be closed whatever this returns. */
static int open_export(const char *folder, Export *export) {
  static const char *const tags[] = {"serve"};
  char path[LONGEST_PATH];
  TF_SessionOptions *options;
  FILE *file;

  export->status = TF_NewStatus();
  export->graph = TF_NewGraph();
  export->meta_graph = TF_NewBuffer();
  export->session = NULL;
  snprintf(path, sizeof path, "%s/saved_model.pb", folder);
  file = fopen(path, "rb");
  if (!file) {
    return complain(WRONG_REQUEST, "no saved_model.pb in", folder,
                    "give a version folder such as runs/smmd_digits/export/smmd_digits/1");
  }
  fclose(file);
  options = TF_NewSessionOptions();
  export->session = TF_LoadSessionFromSavedModel(options, NULL, folder, tags, 1, export->graph,
                                                 export->meta_graph, export->status);
  TF_DeleteSessionOptions(options);
  if (TF_GetCode(export->status) != TF_OK)
    return complain_status("cannot load the export:", export->status);
  return DONE;
}

/* Resolves a TensorInfo such as {name: "sample_png_seed:0"}. */
static int find_tensor(const Export *export, Bytes tensor_info, TF_Output *output) {
  char name[LONGEST_NAME];
  char *colon;
  Field field;
  if (!find_field(tensor_info, TENSOR_NAME, &field)) return 0;
  snprintf(name, sizeof name, "%.*s", (int)(field.bytes.end - field.bytes.at),
           (const char *)field.bytes.at);
  colon = strrchr(name, ':');
  output->index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = 0;
  output->oper = TF_GraphOperationByName(export->graph, name);
  return output->oper != NULL;
}

/* --- List the signatures ---------------------------------------------------------------------- */

static const char *dtype_name(uint64_t dtype) {
  switch (dtype) {
    case TF_FLOAT:
      return "float32";
    case TF_INT32:
      return "int32";
    case TF_INT64:
      return "int64";
    case TF_STRING:
      return "string";
    case TF_UINT8:
      return "uint8";
    default:
      return "of another type";
  }
}

/* Prints the tensors of one side: "seed [n, 2] int32". */
static void print_tensors(Bytes signature, uint64_t side) {
  Bytes key, info, shape;
  Field field, dim, size;
  const char *comma = "";
  while (next_entry(&signature, side, &key, &info)) {
    const char *dim_comma = "";
    printf("%s%.*s [", comma, (int)(key.end - key.at), (const char *)key.at);
    comma = ", ";
    shape = find_field(info, TENSOR_SHAPE, &field) ? field.bytes : (Bytes){NULL, NULL};
    while (next_field(&shape, &dim)) {
      if (dim.number != SHAPE_DIM) continue;
      if (!find_field(dim.bytes, DIM_SIZE, &size)) size.value = 0;
      if ((int64_t)size.value < 0)
        printf("%sn", dim_comma);
      else
        printf("%s%lld", dim_comma, (long long)size.value);
      dim_comma = ", ";
    }
    printf("] %s", dtype_name(find_field(info, TENSOR_DTYPE, &field) ? field.value : 0));
  }
}

static int list_signatures(const Export *export) {
  Bytes message = meta_graph(export), key, signature;
  while (next_entry(&message, META_GRAPH_SIGNATURES, &key, &signature)) {
    /* Names that begin with two underscores are TensorFlow's own. */
    if (key.end - key.at > 1 && key.at[0] == '_' && key.at[1] == '_') continue;
    printf("%.*s: ", (int)(key.end - key.at), (const char *)key.at);
    print_tensors(signature, SIGNATURE_INPUTS);
    printf(" -> ");
    print_tensors(signature, SIGNATURE_OUTPUTS);
    printf("\n");
  }
  return DONE;
}

/* --- Draw a sample ---------------------------------------------------------------------------- */

/* Writes under a temporary name first: the file is whole or absent. */
static int write_file(const char *path, const char *data, size_t size) {
  char temporary[LONGEST_PATH];
  FILE *file;
  int written;
  snprintf(temporary, sizeof temporary, "%s.tmp", path);
  file = fopen(temporary, "wb");
  if (!file) return complain_disk(path, errno);
  written = fwrite(data, 1, size, file) == size;
  written = !fclose(file) && written;
  if (!written || rename(temporary, path)) {
    int reason = errno;
    remove(temporary);
    return complain_disk(path, reason);
  }
  return DONE;
}

static int write_answer(const TF_Tensor *answer, const char *path) {
  const TF_TString *png;
  if (TF_TensorType(answer) != TF_STRING || TF_TensorElementCount(answer) != 1)
    return complain(FAILED, "not one string in", "image_bytes", "export the model again");
  png = TF_TensorData(answer);
  return write_file(path, TF_StringGetDataPointer(png), TF_StringGetSize(png));
}

static int sample(Export *export, int32_t seed, const char *path) {
  static const int64_t shape[] = {1, 2};
  const int32_t seed_row[] = {seed, 0};
  Bytes signature, info;
  TF_Output input, output;
  TF_Tensor *request, *answer = NULL;
  int code;

  if (!find_entry(meta_graph(export), META_GRAPH_SIGNATURES, "sample_png", &signature)) {
    return complain(WRONG_REQUEST, "the export has no signature", "sample_png",
                    "it makes no images of 1 or 3 channels; --signatures lists what it has");
  }
  if (!find_entry(signature, SIGNATURE_INPUTS, "seed", &info) || !find_tensor(export, info, &input))
    return complain(FAILED, "signature sample_png lacks", "seed", "export the model again");
  if (!find_entry(signature, SIGNATURE_OUTPUTS, "image_bytes", &info) ||
      !find_tensor(export, info, &output))
    return complain(FAILED, "signature sample_png lacks", "image_bytes", "export the model again");

  request = TF_AllocateTensor(TF_INT32, shape, 2, sizeof seed_row);
  memcpy(TF_TensorData(request), seed_row, sizeof seed_row);
  TF_SessionRun(export->session, NULL, &input, &request, 1, &output, &answer, 1, NULL, 0, NULL,
                export->status);
  TF_DeleteTensor(request);
  if (TF_GetCode(export->status) != TF_OK)
    return complain_status("cannot run the signature sample_png:", export->status);
  code = write_answer(answer, path);
  TF_DeleteTensor(answer);
  return code;
}

static int read_seed(const char *text, int32_t *seed) {
  char *end;
  long long value;
  errno = 0;
  value = strtoll(text, &end, 10);
  if (errno || end == text || *end || value < INT32_MIN || value > INT32_MAX) return 0;
  *seed = (int32_t)value;
  return 1;
}

int main(int argc, char **argv) {
  Export export;
  int32_t seed = 0;
  int code, only_list = argc == 3 && !strcmp(argv[1], "--signatures");

  if (!only_list && argc != 4) {
    fprintf(stderr,
            "usage: sample_png EXPORT_DIR SEED OUT.png | sample_png --signatures EXPORT_DIR\n");
    return WRONG_REQUEST;
  }
  if (!only_list && !read_seed(argv[2], &seed))
    return complain(WRONG_REQUEST, "SEED is not a 32-bit integer:", argv[2], "give one such as 7");
  code = open_export(only_list ? argv[2] : argv[1], &export);
  if (code == DONE) code = only_list ? list_signatures(&export) : sample(&export, seed, argv[3]);
  close_export(&export);
  return code;
}
