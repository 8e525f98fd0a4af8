"""Keys of other toolkits' configuration files, and the options here that take their place."""

# Options here with the keys of JoeyNMT, OpenNMT-py, eole, Sockeye, fairseq and Marian whose place
# they take, in lower case.
PEER_KEYS = {
    "data.valid": "dev validation valid_sets validpref validation_source validation_target",
    "data.train": "train_sets trainpref",
    "data.train, a prefix of both files": "path_src path_tgt",
    "data.train, which may be a list": "corpus_1",
    "weight in data.train": "upsample_primary data_weighting",
    "nmt-translate or nmt-eval, which are given the test text": "test",
    "search, or the options of nmt-translate": "testing decode translate",
    "data.source": "src src_lang",
    "data.target": "trg tgt tgt_lang trg_lang",
    "data.source or data.target": "lang",
    "data.vocabulary.model": (
        "src_vocab tgt_vocab source_vocab target_vocab voc_file srcdict tgtdict model_file "
        "sentencepiece_model"
    ),
    "data.vocabulary.joint": "share_vocab shared_vocab joined_dictionary",
    "data.vocabulary": "vocabs sentencepiece",
    "data.vocabulary.size": (
        "vocab_size src_vocab_size tgt_vocab_size num_words dim_vocabs voc_limit nwordssrc "
        "nwordstgt"
    ),
    "data.vocabulary.type": "level tokenizer_type",
    "data.vocabulary.type or data.vocabulary.codes": "bpe",
    "data.vocabulary.codes": "bpe_codes",
    "data.vocabulary.model or data.vocabulary.codes": "src_subword_model tgt_subword_model",
    "data.vocabulary.sampling": "sentencepiece_alphas src_subword_alpha",
    "data.vocabulary and data.pre": "transforms",
    "data.pre": "pretokenizer",
    "data.pre and data.post": "tokenizer onmt_tokenize",
    "tag in data.train, and search.tag": "src_prefix",
    "data.target_order": "right_left",
    "data.max_length": (
        "max_sent_length src_seq_length tgt_seq_length max_seq_len max_source_positions "
        "max_target_positions"
    ),
    "model.embedding_size": (
        "emb_dim word_vec_size dim_emb embedding_dim num_embed encoder_embed_dim "
        "decoder_embed_dim transformer_model_size"
    ),
    "hidden_size of model.encoder and model.decoder": "rnn_size dim_rnn hidden_dim rnn_num_hidden",
    "hidden_size of model.encoder": "encoder_hidden_size",
    "hidden_size of model.decoder": "decoder_hidden_size",
    "layers of model.encoder": "enc_layers enc_depth encoder_layers",
    "layers of model.decoder": "dec_layers dec_depth decoder_layers",
    "layers": "num_layers",
    "cell of model.decoder": "rnn_type",
    "direction of model.encoder": "bidirectional",
    "model.encoder": "encoder_type",
    "model.decoder": "decoder_type",
    "model.score": "global_attention",
    "initial_state of model.decoder": "init_hidden",
    "model.encoder and model.decoder": "arch architecture",
    "feed_forward_size of model.encoder and model.decoder": (
        "transformer_ff ff_size transformer_dim_ffn transformer_feed_forward_num_hidden"
    ),
    "feed_forward_size of model.encoder": "encoder_ffn_embed_dim",
    "feed_forward_size of model.decoder": "decoder_ffn_embed_dim",
    "heads": "num_heads transformer_heads transformer_attention_heads",
    "heads of model.encoder": "encoder_attention_heads",
    "heads of model.decoder": "decoder_attention_heads",
    "dropout of model.encoder and model.decoder": (
        "dropout_rnn transformer_dropout hidden_dropout dropout"
    ),
    "model.embedding_dropout": "embed_dropout",
    "model.source_word_dropout": "dropout_src",
    "model.target_word_dropout": "dropout_trg",
    "coverage of model.attention": "coverage_attn",
    "model.tied_embeddings": "tied_softmax weight_tying weight_tying_type",
    "model.tied_embeddings: all": "tied_embeddings_all share_embeddings share_all_embeddings",
    "model.tied_embeddings: decoder": (
        "share_decoder_embeddings share_decoder_input_output_embed tied_embeddings"
    ),
    "training.batch_tokens or training.batch_sentences": "batch_size batch_type",
    "training.batch_sentences": "mini_batch max_sentences",
    "training.batch_tokens": "max_tokens mini_batch_words",
    "training.batch_tokens: auto": "mini_batch_fit",
    "training.bucket_pairs": "bucket_size",
    "training.accumulate": (
        "batch_multiplier accum_count optimizer_delay update_interval update_freq"
    ),
    "training.optimizer": "optim",
    "training.optimizer.learning_rate": "lr learn_rate learning_rate",
    "training.schedule": (
        "scheduling lr_scheduler decay_method learning_rate_scheduler_type lr_decay_inv_sqrt "
        "learning_rate_decay_steps"
    ),
    "warmup of training.schedule": "lr_warmup warmup_updates learning_rate_warmup warmup_steps",
    "training.steps": "train_steps max_updates max_update after_batches updates",
    "training.epochs or training.steps": "after",
    "training.epochs": "after_epochs max_num_epochs max_epoch",
    "training.validate_every": (
        "valid_steps validation_freq valid_freq validate_interval_updates checkpoint_interval "
        "eval_frequency"
    ),
    "training.save_every": "save_checkpoint_steps save_freq save_interval_updates checkpoint_freq",
    "training.log_every": "logging_freq report_every disp_freq log_interval",
    "training.keep": (
        "keep_checkpoint keep_best_ckpts keep_last_params keep_interval_updates keep_last_epochs"
    ),
    "training.early_stopping.metric": (
        "early_stopping_metric early_stopping_on best_checkpoint_metric optimized_metric"
    ),
    "training.early_stopping.patience": "patience max_num_checkpoint_not_improved",
    "training.early_stopping": "early_stopping",
    "training.clip_norm": (
        "max_grad_norm clip_grad_norm clip_norm gradient_clipping gradient_clipping_threshold"
    ),
    "training.threads": "num_workers cpu_threads",
    "training.seed": "random_seed",
    "training.ema": "exponential_smoothing average_decay",
    "training.precision": "fp16 bf16 amp model_dtype compute_dtype",
    "weight of training.guided_alignment": "guided_alignment_weight lambda_align",
    "training.guided_alignment": "guided_alignment_cost",
    "training.report": "tensorboard tensorboard_logdir wandb_project",
    "torchrun with nmt-train, a process per GPU": "gpu_ranks world_size",
    "the option --device, and torchrun for several GPUs": "devices",
    "training.start_from": (
        "train_from load_model pretrained_model finetune_from_model restore_file params"
    ),
    "evaluation.metrics": "eval_metrics valid_metrics",
    "evaluation.tokenize and evaluation.lowercase": "sacrebleu_cfg",
    "search.max_length": "max_output_length",
    "alpha of search.length_penalty": "lenpen alpha normalize beam_alpha length_penalty_alpha",
    "search.length_penalty": "length_penalty",
    "search.n_best": "nbest nbest_size",
    "search.replace_unknown": "replace_unk",
    "search.block_ngram_repeat": "no_repeat_ngram_size",
    "the option --alignments of nmt-translate": "alignment report_align print_alignment",
    "the option --run": "model_dir save_model save_dir",
    "training.optimizer and training.schedule": "optimization",
    "data.train and training.batch_tokens": "dataset",
    "training.save_every and the option --run": "checkpoint",
}
COUNTERPARTS = {key: option for option, keys in PEER_KEYS.items() for key in keys.split()}


def counterpart(key: tuple[str, ...]) -> str | None:
    """Return the option that takes the place of another toolkit's key, or None if it is unknown."""
    return COUNTERPARTS.get(key[-1].lower().replace("-", "_"))
